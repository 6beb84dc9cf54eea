//! See `bowline_runbook::fuzz::document`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_runbook::fuzz::document(data));
