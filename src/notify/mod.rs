//! Outbox → the world. Claims rows, renders them for their channel, sends, settles; never loses a message.
//!
//! Read `dispatcher.rs` first (the loop), then `channel/mod.rs` (the trait) and `message.rs` (what a message says).
//! `retry.rs`, `circuit.rs` and `bucket.rs` are pure: when to try again, when to leave a receiver alone, how fast.

pub mod bucket;
pub mod channel;
pub mod circuit;
pub mod dispatcher;
mod mail;
pub mod message;
pub mod render;
pub mod retry;
mod smtp;
