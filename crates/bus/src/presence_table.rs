//! People and the nodes that they are connected to.

use async_trait::async_trait;

use super::BusError;
use model::person::Person;

/// Connected people of all nodes.
#[async_trait]
pub trait PresenceTable: Send + Sync + 'static {
    /// Records that these people are connected to this node.
    async fn mark_online(&self, people: &[Person]) -> Result<(), BusError>;

    /// Records that these people are no longer connected to this node.
    async fn mark_offline(&self, people: &[Person]) -> Result<(), BusError>;

    /// Whether each of these people is connected to a live node, that is, a registered one.
    async fn are_online(&self, people: &[Person]) -> Result<Vec<bool>, BusError>;
}
