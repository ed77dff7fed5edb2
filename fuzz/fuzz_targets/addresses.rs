//! Whom a request is for, as clients and proxies say.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::addresses(bytes));
