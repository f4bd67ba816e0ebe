#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dagrun_fuzz_inputs::wire::feed(data));
