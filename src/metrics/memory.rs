//! Readers that end as too much waits for them, and answers that are refused for the same.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use super::{counter, counters};

#[derive(Clone, Debug)]
pub(crate) struct MemoryCounts {
    /// Its own queue is full.
    pub(crate) of_connection: Counter,
    /// Too much waits for its account.
    pub(crate) of_account: Counter,
    /// Too much waits on the node.
    pub(crate) of_node: Counter,
    /// Answers over HTTP.
    pub(crate) refused: Counter,
}

impl MemoryCounts {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let help = "Readers that were ended as too much waited, by whose budget was full";
        let budgets = ["connection", "account", "node"];
        let [of_connection, of_account, of_node] =
            counters(registry, "slow_readers", help, "budget", budgets);
        let help = "Requests that were refused as their account reads too little";
        let refused = counter(registry, "unread_refusals", help);
        Self { of_connection, of_account, of_node, refused }
    }
}

/// Counted, and told to nobody.
impl Default for MemoryCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}
