//! Input from Redis: a channel's name, a line break, and an envelope.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::envelopes(bytes));
