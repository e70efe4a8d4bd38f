//! Snappy blocks that say how long they are.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hypercare::fuzzing::snappy(data));
