//! Pages of sealed samples.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hypercare::fuzzing::page(data));
