//! frontdesk: real-time chat between an organisation's customers and its professionals.
//!
//! The program: configuration, the modules of a node, its routes and its command line. `ARCHITECTURE.md` has the
//! map of the crates below.

pub mod command_line;
mod config;
mod docs;
#[cfg(feature = "embedded")]
mod embedded;
mod findings;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod health;
mod metrics;
mod modules;
mod openapi;
mod router;
mod scrape;
mod serve;
