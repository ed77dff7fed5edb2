//! Failures of a database.

use std::sync::Arc;

use platform::{ServiceError, ServiceFailure, Source};
use tracing::Level;

/// A failure, by what the caller can do about it. It contains no value of any row.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is down, slow or restarting. Whether a write was committed is unknown.
    #[error("unavailable: {0}")]
    Unavailable(Source),
    /// The statement ran into a lock of another transaction, or into its time limit. Nothing was
    /// written. A smaller part, or the same later, may succeed.
    #[error("contended: {0}")]
    Contended(Source),
    /// The database's disk is full or broken. Nothing was written.
    #[error("disk full or broken: {0}")]
    Disk(Source),
    /// The database rejected the statement, or a check before it did, and would do so again.
    #[error("refused: {0}")]
    Refused(Source),
}

impl StoreError {
    /// The statement should have returned a row.
    pub fn no_row() -> Self {
        Self::refused("the statement returned no row")
    }

    /// A check before the statement failed: this caller must not run it.
    pub fn refused(problem: &'static str) -> Self {
        Self::Refused(Arc::new(std::io::Error::other(problem)))
    }

    /// Name of the kind of failure, for traces.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Contended(_) => "contended",
            Self::Disk(_) => "no_disk",
            Self::Refused(_) => "refused",
        }
    }
}

impl ServiceError for StoreError {
    fn failure(self) -> ServiceFailure {
        let (is_permanent, level, event, cause) = match self {
            Self::Unavailable(cause) | Self::Disk(cause) => {
                (false, Level::WARN, "store unavailable", cause)
            }
            // It concerns one session and is often caused by one person, so it is no warning.
            Self::Contended(cause) => {
                (false, Level::INFO, "store statement ended by a lock or a time limit", cause)
            }
            Self::Refused(cause) => (true, Level::ERROR, "store statement refused", cause),
        };
        ServiceFailure { is_permanent, level, event, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_temporary_unless_the_statement_was_refused() {
        let source = || Arc::new(std::io::Error::other("row 7"));
        for (failure, is_permanent) in [
            (StoreError::Unavailable(source()), false),
            (StoreError::Disk(source()), false),
            (StoreError::Contended(source()), false),
            (StoreError::Refused(source()), true),
        ] {
            assert_eq!(failure.failure().is_permanent, is_permanent);
        }
    }
}
