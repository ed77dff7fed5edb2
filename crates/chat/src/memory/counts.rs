//! Slow readers that were closed, and answers that were refused to them.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use platform::metrics::{counter, counters};

/// Readers that were closed for the budget.
#[derive(Clone, Debug)]
pub struct MemoryCounts {
    /// The connection's own queue was full.
    pub(crate) of_connection: Counter,
    /// Too much waited for its account.
    pub(crate) of_account: Counter,
    /// Too much waited on the node.
    pub of_node: Counter,
    /// Refused answers over HTTP.
    pub refused: Counter,
}

impl MemoryCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let help = "Readers disconnected because a budget of waiting bytes was full, by owner of the budget";
        let budgets = ["connection", "account", "node"];
        let [of_connection, of_account, of_node] =
            counters(registry, "slow_readers", help, "budget", budgets);
        let help = "Requests refused because their account has too many unread bytes";
        let refused = counter(registry, "unread_refusals", help);
        Self { of_connection, of_account, of_node, refused }
    }
}

/// Counters that nobody exports.
impl Default for MemoryCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}
