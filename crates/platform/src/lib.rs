//! The parts that any server has. Nothing here knows a session, a message or a person.

pub mod jobs;
pub mod json;
pub mod metrics;
pub mod openapi;
pub mod tasks;
pub mod telemetry;
pub mod throttle;
pub mod tls;
pub mod traces;
pub mod variables;

/// A new `UUIDv7`.
pub fn new_id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

/// Cause of an error, shared by its copies.
pub type Source = std::sync::Arc<dyn std::error::Error + Send + Sync>;

/// Failure of a service behind a node, such as its database. Its cause is for the log alone.
#[derive(Clone, Debug)]
pub struct ServiceFailure {
    /// The same request fails again.
    pub is_permanent: bool,
    /// Level of the log line.
    pub level: tracing::Level,
    /// Message of the log line.
    pub event: &'static str,
    /// Holds no value of any row.
    pub cause: Source,
}

/// Error of a service behind a node.
pub trait ServiceError {
    /// The failure for the caller, and for the log.
    fn failure(self) -> ServiceFailure;
}
