//! The words of the trade: plain values shared by every room. No I/O, no async, no SQL, no clock but an injected one.
//!
//! Read `launch.rs` first (what a launch is), then `verdict.rs` (what a gate says), `metric.rs` (what a series is),
//! `alert.rs` (what wakes somebody) and `notification.rs` (what is sent). Nothing here imports another room.

pub mod alert;
pub mod canonical;
pub mod clock;
pub mod cron;
pub mod evidence;
pub mod exposition;
pub mod feedback;
pub mod fingerprint;
pub mod gap;
pub mod incident;
pub mod launch;
pub mod marker;
pub mod metric;
pub mod notification;
pub mod problem;
pub mod query;
pub mod release;
pub mod remote_write;
pub mod roles;
pub mod rollup;
pub mod scan;
pub mod secret;
pub mod service;
pub mod sshsig;
pub mod stats;
pub mod sum;
pub mod suppression;
pub mod units;
pub mod varint;
pub mod verdict;
