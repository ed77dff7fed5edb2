//! People blocked by an admin.
//!
//! A node holds them in memory, so no request queries the database. A small query checks for changes at
//! a fixed interval, so that nothing depends on the bus. A hint on the bus triggers the check at once.
//! While the database is unavailable, the last known list counts.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use crate::{
    audit::Actor,
    bus::{ControlChannel, ControlMessage},
    hub::Hub,
    person::Person,
    platform::tasks::{Stage, Tasks},
    store::{
        StoreError,
        blocks::{Block, BlockList, Blocked},
    },
    wire::CloseCode,
};

/// Interval of checks: a blocked person is disconnected within a second.
const REFRESH_INTERVAL: Duration = Duration::from_millis(700);

/// Reason for a block: 1 to 200 characters, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    min_length = 1,
    max_length = 200,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
)]
pub(crate) struct Reason(String);

/// Text that is not a valid reason.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 200 characters in one line")]
pub(crate) struct InvalidReason;

impl Reason {
    pub(crate) fn as_str(&self) -> &str {
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
pub(crate) struct Blocks {
    known: Mutex<Blocked>,
    store: Arc<dyn BlockList>,
    control: Arc<dyn ControlChannel>,
    hub: Arc<Hub>,
}

impl Blocks {
    /// Loads the list and starts the periodic check.
    pub(crate) async fn start(
        tasks: &Tasks,
        store: Arc<dyn BlockList>,
        control: Arc<dyn ControlChannel>,
        hub: Arc<Hub>,
    ) -> Result<Arc<Self>, StoreError> {
        let blocks = Arc::new(Self { known: Mutex::default(), store, control, hub });
        blocks.refresh().await?;
        tasks.spawn(Stage::Delivery, "blocks", Arc::clone(&blocks).keep_refreshing());
        Ok(blocks)
    }

    fn known(&self) -> MutexGuard<'_, Blocked> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this person is blocked.
    pub(crate) fn is_blocked(&self, person: &Person) -> bool {
        self.known().people.contains(person)
    }

    /// Blocks a person. On return they are disconnected on this node, and soon on all others.
    pub(crate) async fn block(
        &self,
        person: &Person,
        reason: Option<&Reason>,
        by: &Actor,
    ) -> Result<Block, StoreError> {
        let block = self.store.block(person, reason, by).await?;
        self.changed(person).await;
        Ok(block)
    }

    /// Removes a block.
    pub(crate) async fn unblock(&self, person: &Person, by: &Actor) -> Result<(), StoreError> {
        if self.store.unblock(person, by).await? {
            self.changed(person).await;
        }
        Ok(())
    }

    async fn changed(&self, person: &Person) {
        self.control.send_control(ControlMessage::BlocksChanged { person: person.clone() });
        if let Err(error) = self.refresh().await {
            tracing::debug!(%error, "query of changed blocks failed; the next refresh retries");
        }
    }

    async fn keep_refreshing(self: Arc<Self>) {
        let mut ticks = interval(REFRESH_INTERVAL);
        // No burst of checks after a slow database.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.hub.until_hinted() => {}
            }
            let outcome = self.refresh().await;
            if let Err(error) = &outcome
                && !failed
            {
                tracing::warn!(%error, "query of blocks failed; the last known blocks apply");
            }
            failed = outcome.is_err();
        }
    }

    /// Loads changes from the store, and closes the connections of blocked people.
    async fn refresh(&self) -> Result<(), StoreError> {
        let since = self.known().rev;
        let Some(blocked) = self.store.blocked(since).await? else { return Ok(()) };
        let mut known = self.known();
        // Two checks may overlap: keep the later revision.
        if blocked.rev < known.rev && known.rev != since {
            return Ok(());
        }
        *known = blocked;
        drop(known);
        // Connections that open now check the list later (`connection::live`).
        for outbound in self.hub.connections() {
            if self.is_blocked(outbound.person()) {
                outbound.close(CloseCode::NotAllowed);
            }
        }
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
