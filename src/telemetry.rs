//! Logs: pretty on a terminal, JSON lines otherwise.
//!
//! Law I14: no token, body or key reaches a log. Bodies, tokens and secrets have types that do not
//! print; requests are logged by route, never by path or query; databases' errors by their codes.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, prelude::*};

use crate::config::LogConfig;

/// Starts logging to standard output, for the whole process.
pub fn start(config: LogConfig) {
    let json = config.json.unwrap_or_else(|| !io::stdout().is_terminal());
    // Libraries are heard from when something is wrong with them, whatever the level.
    let level = config.level.as_str().to_lowercase();
    // The embedded S3 server's words hold paths and signatures: its answers say enough.
    let filter = format!("warn,frontdesk={level},fred=error,s3s=off,s3s_fs=off");
    let filter = EnvFilter::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
        registry.with(lines.with_current_span(false)).init();
    } else {
        registry.with(tracing_subscriber::fmt::layer().with_target(false)).init();
    }
}
