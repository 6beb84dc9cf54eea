//! See `bowline_proto::fuzz::smux`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_proto::fuzz::smux(data));
