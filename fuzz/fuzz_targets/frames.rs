//! A frame of the native framing, and each event.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::frames(bytes));
