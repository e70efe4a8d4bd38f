//! OTLP metrics, protobuf and JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hypercare::fuzzing::otlp(data));
