//! See `bowline::fuzz::listing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline::fuzz::listing(data));
