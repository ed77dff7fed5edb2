//! The parts that any server has. Nothing here knows a session, a message or a person.

pub(crate) mod json;
pub(crate) mod metrics;
pub(crate) mod tasks;
pub(crate) mod telemetry;
pub(crate) mod tls;
pub(crate) mod variables;

/// Cause of an error, shared by its copies.
pub(crate) type Source = std::sync::Arc<dyn std::error::Error + Send + Sync>;
