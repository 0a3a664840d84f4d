#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cygnet_esp::fuzz::inner(data));
