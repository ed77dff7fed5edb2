//! What people, files, pictures and hosts are called.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::names(bytes));
