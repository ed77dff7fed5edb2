//! PostgreSQL: times of waiting and of queries, and errors.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use crate::StoreError;
use platform::metrics::{Histogram, counters, durations, gauge, histograms};

/// Times and errors of statements.
#[derive(Clone, Debug)]
pub struct DatabaseCounts {
    /// Time for which a look-up waited for its permit.
    pub permit: Histogram,
    /// Time for which any operation waited for a connection of the pool.
    pub connection: Histogram,
    /// Duration of a look-up, once it had its connection.
    pub query: Histogram,
    /// Look-ups that wait for their permit.
    pub waiting: Gauge,
    /// Failures because the database was unreachable or out of disk.
    pub unavailable: Counter,
    /// Statements ended by a lock or a time limit.
    pub contended: Counter,
    /// Statements that were rejected for good.
    pub refused: Counter,
}

impl DatabaseCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let help = "Time of waiting for a query permit (turn), and for a connection of the pool";
        let [permit, connection] =
            histograms(registry, "database_wait_seconds", help, "resource", ["turn", "connection"]);
        let help = "Duration of queries in the database, without waiting";
        let query = durations(registry, "database_query_seconds", help);
        let help = "Queries that wait for a permit";
        let waiting = gauge(registry, "database_lookups_waiting", help);
        let help = "Failed operations of the database: unreachable or out of disk (unavailable), \
                    ended by a lock or a time limit (contended), rejected for good (refused)";
        let kinds = ["unavailable", "contended", "refused"];
        let [unavailable, contended, refused] =
            counters(registry, "database_errors", help, "kind", kinds);
        Self { permit, connection, query, waiting, unavailable, contended, refused }
    }

    /// Counts a failure by its kind.
    pub fn failed(&self, error: &StoreError) {
        match error {
            StoreError::Unavailable(_) | StoreError::Disk(_) => self.unavailable.inc(),
            StoreError::Contended(_) => self.contended.inc(),
            StoreError::Refused(_) => self.refused.inc(),
        };
    }
}

/// Counters that nobody exports.
impl Default for DatabaseCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}
