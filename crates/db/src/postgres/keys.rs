//! Keys of sessions and of what they hold begin with the tenant (law I15). Databases of version 19 and before get them
//! while nodes run: the new indexes are built beside the old ones, and then take their place in one transaction.

use std::time::Duration;

use anyhow::{Context, bail};
use deadpool_postgres::Object;
use tokio::time::sleep;
use tokio_postgres::error::SqlState;

/// A new index, its table, and its columns behind the tenant.
const INDEXES: [(&str, &str, &str); 8] = [
    ("members_of_tenant", "members", "session_id, kind, person_id"),
    ("messages_of_tenant", "messages", "session_id, seq"),
    ("messages_by_id", "messages", "session_id, id"),
    ("messages_by_client_id", "messages", "session_id, sender_kind, sender_id, client_id"),
    ("message_edits_of_tenant", "message_edits", "session_id, seq, number"),
    ("deleted_messages_of_tenant", "deleted_messages", "session_id, seq"),
    ("uploads_of_tenant", "uploads", "key"),
    ("sessions_notes_of_tenant", "sessions", "notes_of"),
];

/// Replaces the keys. Names of primary keys stay, as statements find conflicts by `members_pkey`. Tables are locked in the
/// order in which a send uses them, so that one under way passes. The first lock stops no send, and has an autovacuum end;
/// for the second everybody waits, for less than their own limit.
const SWAP: &str = "begin;
    lock table sessions, members, messages, message_edits, deleted_messages, uploads in share update exclusive mode;
    set local statement_timeout = '200ms';
    lock table sessions, members, messages, message_edits, deleted_messages, uploads, push_jobs in access exclusive mode;
    set local statement_timeout = 0;
    alter table push_jobs drop constraint if exists push_jobs_session_id_fkey;
    alter table message_edits drop constraint message_edits_session_id_seq_fkey,
        drop constraint message_edits_pkey,
        add constraint message_edits_pkey primary key using index message_edits_of_tenant;
    alter table messages drop constraint messages_pkey, drop constraint messages_session_id_id_key,
        drop constraint messages_session_id_sender_kind_sender_id_client_id_key,
        add constraint messages_pkey primary key using index messages_of_tenant,
        add constraint messages_by_id unique using index messages_by_id,
        add constraint messages_by_client_id unique using index messages_by_client_id;
    alter table message_edits add constraint message_edits_message_fkey
        foreign key (tenant_id, session_id, seq) references messages (tenant_id, session_id, seq) not valid;
    alter table members drop constraint members_pkey,
        add constraint members_pkey primary key using index members_of_tenant;
    alter table deleted_messages drop constraint deleted_messages_pkey,
        add constraint deleted_messages_pkey primary key using index deleted_messages_of_tenant;
    alter table uploads drop constraint uploads_pkey,
        add constraint uploads_pkey primary key using index uploads_of_tenant;
    drop index sessions_notes;
    alter index sessions_notes_of_tenant rename to sessions_notes;
    alter table sessions drop constraint sessions_pkey,
        add constraint sessions_pkey primary key using index sessions_of_tenant;
    commit";

/// Number of tries to get the locks of the swap, and the pause between two: sends go on in it.
const TRIES: usize = 60;
const PAUSE: Duration = Duration::from_secs(1);

const ARE_OF_TENANT: &str = "select exists (select from pg_index i join pg_attribute a \
    on a.attrelid = i.indrelid and a.attnum = i.indkey[0] \
    where i.indexrelid = 'sessions_pkey'::regclass and a.attname = 'tenant_id')";

/// An index that a build has left half done.
const IS_BROKEN: &str = "select exists (select from pg_index where indexrelid = to_regclass($1::text) and not indisvalid)";

/// Whether nobody has used the database yet: no node of an earlier version runs there.
const IS_UNUSED: &str =
    "select not exists (select from sessions) and not exists (select from uploads)";

/// Gives a database that nobody has used yet its keys.
pub(super) async fn give_new(client: &Object) -> anyhow::Result<()> {
    let is_unused: bool = client.query_one(IS_UNUSED, &[]).await?.try_get(0)?;
    if is_unused { swap(client, "").await.map(drop) } else { Ok(()) }
}

/// Replaces the keys of a database in use, for ever. Sends go on while the indexes are built, and then wait for a moment.
/// Returns whether the keys had no tenant.
pub(super) async fn replace(client: &Object) -> anyhow::Result<bool> {
    swap(client, "concurrently").await
}

/// Whether all keys begin with the tenant, in a database that is migrated.
pub(super) async fn are_of_tenant(client: &Object) -> Result<bool, tokio_postgres::Error> {
    client.query_one(ARE_OF_TENANT, &[]).await?.try_get(0)
}

async fn swap(client: &Object, way: &str) -> anyhow::Result<bool> {
    if are_of_tenant(client).await? {
        return Ok(false);
    }
    for (name, table, columns) in INDEXES {
        if client.query_one(IS_BROKEN, &[&name]).await?.try_get(0)? {
            client.batch_execute(&format!("drop index {way} {name}")).await?;
        }
        let some =
            if name == "sessions_notes_of_tenant" { "where notes_of is not null" } else { "" };
        let sql = format!(
            "create unique index {way} if not exists {name} on {table} (tenant_id, {columns}) {some}"
        );
        tracing::info!(index = name, "building an index");
        client
            .batch_execute(&sql)
            .await
            .with_context(|| format!("the index {name} was not built"))?;
    }
    for _ in 0..TRIES {
        match client.batch_execute(SWAP).await {
            Ok(()) => return Ok(true),
            Err(error) => {
                client.batch_execute("rollback").await?;
                let held = [SqlState::QUERY_CANCELED, SqlState::T_R_DEADLOCK_DETECTED];
                if !error.code().is_some_and(|code| held.contains(code)) {
                    return Err(error).context("the keys were not replaced");
                }
                sleep(PAUSE).await;
            }
        }
    }
    bail!("the keys were not replaced: a transaction holds the tables; run it again")
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;
