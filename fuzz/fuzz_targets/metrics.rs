#![no_main]

use burn_lora_fuzz::targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::run::metrics(bytes));
