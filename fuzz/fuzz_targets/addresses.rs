//! Client addresses in `X-Forwarded-For`, as clients and proxies send them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| frontdesk::fuzz::addresses(bytes));
