//! Tokens, their carriers, correctly signed claims, and key sets.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::tokens(bytes));
