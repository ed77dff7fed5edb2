//! A body of JSON, as each handler of HTTP reads it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::bodies(bytes));
