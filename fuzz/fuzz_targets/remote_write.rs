//! Remote write 1.0, unpacked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hypercare::fuzzing::remote_write(data));
