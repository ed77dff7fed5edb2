//! Bytes uploaded as a picture, and their thumbnail.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::pictures(bytes));
