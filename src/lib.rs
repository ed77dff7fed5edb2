//! frontdesk: real-time chat between an organisation's customers and its professionals.
//!
//! The way of one message: **send** ([`commands`]) → **append** ([`store`]) → **publish** ([`bus`]) →
//! **deliver** ([`hub`]) → **enqueue** ([`connection`]). `ARCHITECTURE.md` has the rest.

mod app;
mod asyncapi;
mod audit;
mod auth;
mod blocks;
mod bus;
mod cluster;
pub mod command_line;
mod commands;
mod config;
mod connection;
mod directory;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod http;
mod hub;
mod images;
mod inbox;
mod indexer;
mod limits;
mod memory;
mod message;
mod metrics;
mod openapi;
mod peers;
mod person;
mod platform;
mod presence;
mod push;
mod receipts;
mod retention;
mod router;
mod serve;
mod session;
mod store;
mod throttle;
mod traces;
mod wire;
