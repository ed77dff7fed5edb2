//! A poll's body: packets of Engine.IO and Socket.IO, and offsets.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::packets(bytes));
