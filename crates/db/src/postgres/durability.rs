//! Durability: whether a commit is on the disk when the database confirms it.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};
use utoipa::ToSchema;

/// In our sessions a commit waits for the disk, and for the synchronous standby if there is one,
/// whatever the role's setting is. `remote_apply` waits for more, and is kept.
const SETTLE: &str = "select case current_setting('synchronous_commit') \
      when 'remote_apply' then 'remote_apply' \
      else set_config('synchronous_commit', 'on', false) end, \
    current_setting('fsync'), current_setting('full_page_writes'), \
    current_setting('transaction_read_only')";

/// Durability of the database's commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Durability {
    /// Setting of the node's own sessions.
    synchronous_commit: String,
    /// Setting of the server.
    fsync: String,
    /// Setting of the server.
    full_page_writes: String,
}

impl Durability {
    /// Possible data loss when the database's machine crashes, and its reason.
    pub fn problem(&self) -> Option<String> {
        let off: Vec<_> = [("fsync", &self.fsync), ("full_page_writes", &self.full_page_writes)]
            .into_iter()
            .filter(|(_, value)| *value != "on")
            .map(|(name, value)| format!("{name} is {value}"))
            .collect();
        (!off.is_empty()).then(|| {
            let off = off.join(" and ");
            format!("{off} in PostgreSQL: a crash may lose or corrupt what it has committed")
        })
    }
}

impl std::fmt::Display for Durability {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { synchronous_commit, fsync, full_page_writes } = self;
        write!(
            formatter,
            "synchronous_commit {synchronous_commit}, fsync {fsync}, \
             full_page_writes {full_page_writes}"
        )
    }
}

/// Durability as the newest connection found it: after a failover the server may be another one.
#[derive(Debug, Default)]
pub(crate) struct Found(Mutex<Option<Durability>>);

impl Found {
    pub(crate) fn get(&self) -> Option<Durability> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets up a new connection, and records its server's settings. Returns whether the server is
    /// read-only.
    pub(crate) async fn settle(&self, client: &Client) -> Result<bool, tokio_postgres::Error> {
        let answer = client.simple_query(SETTLE).await?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let only_reads = row.is_some_and(|row| row.get(3) == Some("on"));
        let found = row.and_then(read);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *known != found;
        if let Some(problem) = found.as_ref().filter(|_| is_new).and_then(Durability::problem) {
            tracing::warn!(problem, "PostgreSQL may lose committed data");
        }
        *known = found;
        Ok(only_reads)
    }
}

fn read(row: &SimpleQueryRow) -> Option<Durability> {
    let value = |column| row.get(column).map(str::to_owned);
    Some(Durability {
        synchronous_commit: value(0)?,
        fsync: value(1)?,
        full_page_writes: value(2)?,
    })
}
