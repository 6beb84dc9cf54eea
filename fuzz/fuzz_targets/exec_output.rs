//! See `bowline::fuzz::exec_output`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline::fuzz::exec_output(data));
