//! Permits: they limit the changes that wait for the write connection.

use std::{sync::Arc, time::Duration};

use rusqlite::Connection;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::Sqlite;
use crate::{
    person::Person,
    session::SessionId,
    store::{StoreError, changes::Changes},
};

/// Maximum of changes that write, or wait for the write connection: the committer waits for it too.
const CHANGES: usize = 2;
/// Time limit of a change's wait for its permit.
const CHANGE_WAIT: Duration = Duration::from_secs(5);

/// The changes under way, and the permits to write.
#[derive(Debug)]
pub(super) struct Turns {
    changes: Changes,
    writing: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { changes: Changes::default(), writing: Semaphore::new(CHANGES) }
    }
}

impl Sqlite {
    /// Makes a person's change of a session: one at a time for each person and session, and few at
    /// once in all.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        me: &Person,
        id: SessionId,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let give_up = Instant::now() + CHANGE_WAIT;
        let _change = self.turns.changes.begin(me, id, give_up).await?;
        let turn = timeout_at(give_up, self.turns.writing.acquire()).await;
        let _turn = turn.map_err(|late| StoreError::Contended(Arc::new(late)))?;
        self.write(work).await
    }
}
