//! Whatever a client sends, the parsers answer: they don't panic, recurse without end, or hang.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| frontdesk::fuzz::packets(text));
