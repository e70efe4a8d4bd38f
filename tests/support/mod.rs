//! Real servers for the tests that run against the whole: processes on port 0 of 127.0.0.1 that end with their handle.
//! Each test binary uses its own part.
#![allow(dead_code)]

pub mod engine;
pub mod gate;
pub mod http;
pub mod postgres;
pub mod prometheus;
pub mod smtp;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Polls until `done` or panics with `what`.
pub fn wait_within<T>(patience: Duration, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(Instant::now() < until, "waited {patience:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The Python of `target/test-venv`; `tests/setup.sh` makes it.
pub fn python() -> PathBuf {
    let python = root().join("target/test-venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup.sh (make test does)", python.display());
    python
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
