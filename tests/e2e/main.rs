//! The real binary against real servers: a breach is told once, acknowledged, resolved in its thread; a daemon that is
//! killed at any moment loses no alert and repeats none under another name.

#![expect(clippy::print_stdout, reason = "a test tells its figures")]

mod alerting;
mod checking;
#[path = "../support/mod.rs"]
mod support;
mod world;
