//! Bodies of requests.

#![no_main]

#[path = "../src/cases.rs"]
#[expect(dead_code, reason = "one of them is used here")]
mod cases;

libfuzzer_sys::fuzz_target!(|data: &[u8]| cases::api(data));
