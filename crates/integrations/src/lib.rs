//! Other organisations' services that frontdesk calls.

pub mod push;
