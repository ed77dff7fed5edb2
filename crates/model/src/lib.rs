//! The types of the domain: people, sessions, messages and their parts, and the rules by which a message
//! changes. No value is invalid: each type is parsed once, where its bytes come from outside.
//!
//! No I/O, no clock, and nothing that can fail but parsing.

pub mod account;
pub mod ids;
pub mod image;
pub mod message;
pub mod person;
pub mod profile;
pub mod scope;
pub mod session;
pub mod tenant;
