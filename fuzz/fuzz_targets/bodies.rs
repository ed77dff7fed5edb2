//! A JSON body, as parsed by each HTTP handler.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::bodies(bytes));
