//! Real servers for the tests that run against the whole: processes on port 0 of 127.0.0.1 that end with their handle.
//! Each test binary uses its own part.
#![allow(dead_code)]

pub mod engine;
pub mod http;
pub mod prometheus;
pub mod smtp;

use std::path::PathBuf;

/// The Python of `target/test-venv`; `tests/setup.sh` makes it.
pub fn python() -> PathBuf {
    let python = root().join("target/test-venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup.sh (make test does)", python.display());
    python
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
