//! PromQL: parser, canonical form, evaluation.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hypercare::fuzzing::expression(data));
