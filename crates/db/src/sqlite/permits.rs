//! Permits: they limit the changes that wait for the write connection.

use std::{sync::Arc, time::Duration};

use rusqlite::Connection;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::Sqlite;
use crate::{StoreError, changes::Changes};
use model::{ids::SessionId, person::Person};

/// Maximum of changes that write, or wait for the write connection: the committer waits for it too.
const MAX_CONCURRENT_CHANGES: usize = 2;
/// Time limit of a change's wait for its permit.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The changes under way, and the permits to write.
#[derive(Debug)]
pub(crate) struct ChangePermits {
    changes: Changes,
    writing: Semaphore,
}

impl Default for ChangePermits {
    fn default() -> Self {
        Self { changes: Changes::default(), writing: Semaphore::new(MAX_CONCURRENT_CHANGES) }
    }
}

impl Sqlite {
    /// Makes a person's change of a session: one at a time for each person and session, and few at
    /// once in all.
    pub async fn change<T: Send + 'static>(
        &self,
        me: &Person,
        id: SessionId,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let give_up = Instant::now() + CHANGE_TIMEOUT;
        let _change = self.permits.changes.begin(me, id, give_up).await?;
        let permit = timeout_at(give_up, self.permits.writing.acquire()).await;
        let _permit = permit.map_err(|late| StoreError::Contended(Arc::new(late)))?;
        self.write(work).await
    }
}
