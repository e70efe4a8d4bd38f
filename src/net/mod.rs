//! The only door to the outside: one HTTP client with timeouts, body cap, redirect rule and pinning; the phase-timed
//! probe client; the safety engine that every gate must pass. Knows no gate, source or channel.

pub mod client;
pub mod probe;
pub mod safety;

pub use client::{Client, NetError, Redirects, Request, Response};
