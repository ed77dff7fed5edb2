//! Text of a search box, searched for in SQLite.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::searches(bytes));
