//! frontdesk: real-time chat between an organisation's customers and its professionals.
//!
//! The way of one message, a verb a hop: **send** ([`commands`]) → **append** ([`store`]) →
//! **publish** ([`bus`]) → **deliver** ([`hub`]) → **enqueue** ([`connection`]). `ARCHITECTURE.md`
//! tells the rest.

mod app;
mod auth;
mod blocks;
mod bus;
mod commands;
pub mod config;
mod connection;
mod directory;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod http;
mod hub;
mod images;
mod inbox;
mod limits;
mod message;
mod metrics;
mod pace;
mod peers;
mod person;
mod presence;
mod push;
mod receipts;
mod router;
mod serve;
mod session;
mod store;
pub mod telemetry;
mod tls;
mod wire;

/// The parsers of what comes from clients, for `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzz {
    /// Reads a frame or packet as every framing would.
    pub fn packets(text: &str) {
        drop(crate::wire::native::parse(text));
        drop(crate::wire::socketio::parse(text));
        drop(text.parse::<crate::wire::offset::Offset>());
        for packet in crate::wire::engineio::split(text) {
            drop(crate::wire::engineio::parse(packet));
        }
    }
}

pub use config::Config;
pub use serve::serve;
