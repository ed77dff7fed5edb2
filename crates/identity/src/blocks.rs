//! People blocked by an admin.
//!
//! Each node holds them in memory ([`crate::connections`]).

pub mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    audit::Actor,
    connections::{Connections, Held, keep_refreshing},
};
use db::StoreError;
use model::{
    person::{Person, PersonName},
    scope::AdminScope,
};
use platform::tasks::{Stage, Tasks};
use table::{Block, BlockPlace, BlockTable, Blocked};

/// Reason for a block: 1 to 200 characters, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    min_length = 1,
    max_length = 200,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
)]
pub struct Reason(String);

/// Text that is not a valid reason.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 200 characters in one line")]
pub struct InvalidReason;

impl Reason {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reason {
    type Error = InvalidReason;

    fn try_from(text: String) -> Result<Self, InvalidReason> {
        let fits = (1..=200).contains(&text.chars().count())
            && !text.trim().is_empty()
            && !text.contains(char::is_control);
        if fits { Ok(Self(text)) } else { Err(InvalidReason) }
    }
}

/// Blocked people as this node knows them.
pub struct Blocks {
    known: Mutex<Blocked>,
    table: BlockTable,
    connections: Arc<dyn Connections>,
}

impl Blocks {
    /// Loads the list and starts the periodic check.
    pub async fn start(
        tasks: &Tasks,
        table: BlockTable,
        connections: Arc<dyn Connections>,
    ) -> Result<Arc<Self>, StoreError> {
        let blocks = Arc::new(Self { known: Mutex::default(), table, connections });
        blocks.refresh().await?;
        tasks.spawn(Stage::Delivery, Self::NAME, keep_refreshing(Arc::clone(&blocks)));
        Ok(blocks)
    }

    fn known(&self) -> MutexGuard<'_, Blocked> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this person is blocked.
    pub fn is_blocked(&self, person: &Person) -> bool {
        self.known().people.contains(person)
    }

    /// Blocks a person. On return they are disconnected on this node, and soon on all others.
    pub async fn block(
        &self,
        by: &Actor,
        person: &PersonName,
        reason: Option<&Reason>,
    ) -> Result<Block, StoreError> {
        let block = self.table.block(by, person, reason).await?;
        self.changed(&block.person).await;
        Ok(block)
    }

    /// Removes a block.
    pub async fn unblock(&self, by: &Actor, person: &PersonName) -> Result<(), StoreError> {
        if self.table.unblock(by, person).await? {
            self.changed(&person.clone().of(by.scope.tenant)).await;
        }
        Ok(())
    }

    /// The blocks of the admin's tenant, the latest first.
    pub async fn list(
        &self,
        admin: &AdminScope,
        after: Option<&BlockPlace>,
        limit: u32,
    ) -> Result<Vec<Block>, StoreError> {
        self.table.blocks(admin, after, limit).await
    }

    async fn changed(&self, person: &Person) {
        self.connections.hint_blocks(person);
        if let Err(error) = self.refresh().await {
            tracing::debug!(%error, "query of changed blocks failed; the next refresh retries");
        }
    }
}

#[async_trait]
impl Held for Blocks {
    const NAME: &'static str = "blocks";

    async fn until_hinted(&self) {
        self.connections.until_blocks_changed().await;
    }

    /// Loads changes from the store, and closes the connections of blocked people.
    async fn refresh(&self) -> Result<(), StoreError> {
        let since = self.known().rev;
        let Some(blocked) = self.table.blocked(since).await? else { return Ok(()) };
        let mut known = self.known();
        // Two checks may overlap: keep the later revision.
        if blocked.rev < known.rev && known.rev != since {
            return Ok(());
        }
        *known = blocked;
        drop(known);
        // Connections that open now check the list later, when they are live.
        self.connections.close_refused(&|person| self.is_blocked(person));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b49_a_reason_is_one_short_line() {
        let reason = |text: &str| Reason::try_from(text.to_owned());
        assert!(reason("rude to staff").is_ok() && reason(&"ä".repeat(200)).is_ok());
        for bad in ["", "  ", "a\r\nb", "a\0", &"x".repeat(201)] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
    }
}
