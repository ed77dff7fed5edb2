//! The HTTP API: one file per noun, and shared parts.

pub(crate) mod admin;
pub(crate) mod answers;
pub(crate) mod audit;
pub(crate) mod blocks;
pub(crate) mod carried;
pub(crate) mod chats;
pub mod counts;
pub(crate) mod cursor;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub(crate) mod hsts;
pub(crate) mod images;
pub(crate) mod limits;
pub(crate) mod messages;
pub(crate) mod notes;
pub mod origins;
pub(crate) mod participants;
pub(crate) mod platform;
pub(crate) mod problem;
pub mod request;
pub(crate) mod search;
pub(crate) mod socket;
pub(crate) mod socketio;
pub(crate) mod traces;
