//! Debts and connection slots of accounts, over all nodes.

use std::time::Duration;

use async_trait::async_trait;

use super::BusError;

/// Lease of a connection slot in Redis.
pub const SLOT_LEASE: Duration = Duration::from_secs(20);

/// Usage of an account on one node, as the time in which its bucket refills that much.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Key of the account: a person or an address.
    pub account: String,
    /// Usage since the last report.
    pub used: Duration,
    /// Upper bound of the debt, whatever the usage.
    pub owed_max: Duration,
}

/// Usage of limits, added up over all nodes.
#[async_trait]
pub trait Quotas: Send + Sync + 'static {
    /// Adds this node's usage to accounts. Returns the debt of each over all nodes.
    async fn report_usage(&self, usages: &[Usage]) -> Result<Vec<Duration>, BusError>;

    /// Records how many slots of each account this node holds, for [`SLOT_LEASE`]. Returns the sum of all
    /// other nodes.
    async fn report_slots(&self, held: &[(String, u32)]) -> Result<Vec<u32>, BusError>;
}
