//! Logs: pretty on a terminal, JSON lines otherwise.
//!
//! Law I14: no token, body or key reaches a log. Bodies, tokens and secrets have types that do not print.
//! Requests are logged by route, never by path or query; errors of databases by their codes.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext,
        format::{FormatEvent, FormatFields, Writer},
    },
    prelude::*,
    registry::LookupSpan,
};

use crate::{
    traces,
    variables::{ConfigError, Variables},
};

/// Settings of the log.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// Lowest level that is logged.
    pub level: tracing::Level,
    /// `None`: pretty on a terminal, JSON otherwise.
    pub json: Option<bool>,
}

/// Levels of `LOG_LEVEL`. Other loggers' names for them are accepted too.
const LEVELS: &str = "error, warn, info, debug or trace";

impl LogConfig {
    /// Reads the settings.
    pub fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let level = match variables.text("LOG_LEVEL").map(str::to_lowercase).as_deref() {
            // Names of the nearest level in loggers of Node and Python.
            Some("fatal" | "critical") => tracing::Level::ERROR,
            Some("warning") => tracing::Level::WARN,
            Some("http") => tracing::Level::INFO,
            Some("verbose") => tracing::Level::DEBUG,
            Some("silly") => tracing::Level::TRACE,
            _ => variables.parsed("LOG_LEVEL", tracing::Level::INFO, LEVELS)?,
        };
        let json = match variables.text("LOG_FORMAT") {
            None => None,
            Some("json") => Some(true),
            Some("pretty") => Some(false),
            Some(_) => return Err(Variables::error("LOG_FORMAT", "must be json or pretty")),
        };
        Ok(Self { level, json })
    }
}

/// Starts logging to standard output, for the whole process.
pub fn start(config: LogConfig) {
    let json = config.json.unwrap_or_else(|| !io::stdout().is_terminal());
    // Libraries log only warnings and errors, whatever the level is.
    let level = config.level.as_str().to_lowercase();
    // The embedded S3 server would log paths and signatures. Its answers show enough.
    let filter = format!("warn,frontdesk={level},fred=error,s3s=off,s3s_fs=off");
    let filter = EnvFilter::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
        registry.with(lines.with_current_span(false).map_event_format(WithTrace)).init();
    } else {
        registry.with(tracing_subscriber::fmt::layer().with_target(false)).init();
    }
    log_panics();
}

/// Logs panics by their place alone: the text of a panic may quote a message.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "thread panicked");
    }));
}

/// Lines of JSON with the ids of their trace and span, under OpenTelemetry's names for them.
struct WithTrace<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some((trace_id, span_id)) = traces::ids() {
            let mut line = String::new();
            self.0.format_event(context, Writer::new(&mut line), event)?;
            let rest = line.strip_prefix('{').unwrap_or(&line);
            return write!(out, r#"{{"trace_id":"{trace_id}","span_id":"{span_id}",{rest}"#);
        }
        self.0.format_event(context, out, event)
    }
}
