//! The parts that any server has. Nothing here knows a session, a message or a person.

pub(crate) mod tasks;
pub(crate) mod telemetry;
pub(crate) mod tls;
pub(crate) mod variables;
