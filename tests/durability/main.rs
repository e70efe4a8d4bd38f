//! What is stored stays stored: the real binary, killed at any moment, on a full disk, beside a process that holds the
//! lock, and with damaged files. Samples come in by remote write, so that what was acknowledged is known exactly.

#![expect(clippy::print_stdout, reason = "a test tells its figures")]

mod daemon;
mod damage;
mod full;
mod kills;
mod order;
#[path = "../support/mod.rs"]
mod support;
