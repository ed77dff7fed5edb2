//! The migrations of the schema, at the start of a node.

use std::{ops::DerefMut, time::Duration};

use anyhow::{Context, bail};
use deadpool_postgres::{Object, Pool};
use refinery::Migration;
use tokio::time::sleep;
use tokio_postgres::{GenericClient, Row};

use super::{
    connect::first_client,
    encoding, keys,
    language::{self, UnknownLanguage},
};

/// Advisory lock of the migrating node. The number is arbitrary, but must never change.
const MIGRATION_LOCK: i64 = 7_203_114_825;
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Migrations whose text was shortened after databases were migrated by it, with the checksum of the longer
/// text. The checksum stays recorded, because earlier versions of the program expect it. Version 2 also wrote
/// each message again, in one transaction; version 8 indexes all messages behind the commits.
const CHANGED: [(i32, &str); 1] = [(2, "7550457691537423247")];

/// Ends the upgrade to version 12: the last keys without a tenant get one, and sessions may have more than two members.
/// Programs of version 11 and before find their conflicts by the old keys, would mix up people of two tenants with
/// one id, and show a shared session twice.
const FINISH: &str = "begin;
    alter table people_seen drop constraint people_seen_pkey,
        add primary key using index people_seen_of_tenant;
    alter table blocks drop constraint blocks_pkey, add primary key using index blocks_of_tenant;
    update tenant_changes set allowed = true, rev = rev + 1;
    commit";

use embedded::migrations;

mod embedded {
    refinery::embed_migrations!("../../migrations/postgres");
}

/// Describes the server: version, maximum of connections, and state of the migrations.
pub(crate) async fn describe(pool: &Pool, name: &str) -> anyhow::Result<String> {
    let client = pool.get().await?;
    encoding::check(&client).await?;
    let dictionary = language::dictionary(name);
    if client.query(language::KNOWN, &[&dictionary]).await?.is_empty() {
        return Err(UnknownLanguage.into());
    }
    let settings = "select current_setting('server_version'), current_setting('max_connections')";
    let row = client.query_one(settings, &[]).await?;
    let (version, connections): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let missing = missing(&client).await?;
    let migrated = match missing.as_slice() {
        [] if keys::are_of_tenant(&client).await? => "migrations up to date".to_owned(),
        [] => "migrations up to date, but keys without a tenant (frontdesk migrate --finish)"
            .to_owned(),
        missing => format!("not migrated: {} (frontdesk migrate)", missing.join(", ")),
    };
    Ok(format!("PostgreSQL {version}, {connections} connections at most, {migrated}"))
}

/// Migrations of this version that the database lacks, or has with another content.
async fn missing(client: &Object) -> Result<Vec<String>, tokio_postgres::Error> {
    let applied = history(client).await?.unwrap_or_default();
    let is_there = |ours: &Migration| {
        applied.iter().any(|row| {
            row.try_get::<_, i32>(0).is_ok_and(|version| version == ours.version())
                && row.try_get::<_, &str>(1).is_ok_and(|name| name == ours.name())
                && row.try_get::<_, &str>(2).is_ok_and(|sum| sum == recorded(ours))
        })
    };
    let runner = migrations::runner();
    let mut missing: Vec<_> =
        runner.get_migrations().iter().filter(|ours| !is_there(ours)).collect();
    missing.sort_unstable_by_key(|migration| migration.version());
    Ok(missing.into_iter().map(ToString::to_string).collect())
}

/// The migrations that the database has. `None` if it is new.
async fn history(client: &Object) -> Result<Option<Vec<Row>>, tokio_postgres::Error> {
    let known = "select to_regclass('refinery_schema_history') is not null";
    if !client.query_one(known, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let applied = "select version, name, checksum from refinery_schema_history";
    client.query(applied, &[]).await.map(Some)
}

/// The checksum with which a migration is recorded.
fn recorded(migration: &Migration) -> String {
    let changed = CHANGED.iter().find(|(version, _)| *version == migration.version());
    changed.map_or_else(|| migration.checksum().to_string(), |(_, sum)| (*sum).to_owned())
}

/// Whether a migration is ours by this checksum: that of its text, or of the longer text before.
fn is_recorded_as(migration: &Migration, sum: &str) -> bool {
    sum == recorded(migration) || sum == migration.checksum().to_string()
}

/// Refuses a database in which a migration of one of our versions is another one.
async fn refuse_others(client: &Object) -> anyhow::Result<()> {
    let runner = migrations::runner();
    for row in history(client).await?.unwrap_or_default() {
        let (version, name, sum): (i32, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let ours = runner.get_migrations().iter().find(|ours| ours.version() == version);
        if let Some(ours) = ours
            && (ours.name() != name || !is_recorded_as(ours, &sum))
        {
            bail!("the database's migration V{version}__{name} is not this program's {ours}");
        }
    }
    Ok(())
}

/// Waits for the database, then migrates it, one node at a time.
pub(crate) async fn migrate(pool: &Pool) -> anyhow::Result<()> {
    let mut client = first_client(pool).await?;
    encoding::check(&client).await?;
    // Even the check for missing migrations needs the right to create tables, which a node does not
    // need.
    if missing(&client).await?.is_empty() {
        return Ok(());
    }
    // The lock ends with its transaction or its connection, even if this node crashes.
    client.batch_execute("set statement_timeout = 0; set lock_timeout = 0").await?;
    lock(&**client, "select pg_try_advisory_lock($1)").await?;
    refuse_others(&client).await?;
    let report = migrations::runner()
        // A database that a newer node has migrated is usable for this node.
        .set_abort_missing(false)
        // Checked above, with the recorded checksums.
        .set_abort_divergent(false)
        .run_async(client.deref_mut().deref_mut())
        .await
        .context("the migration of PostgreSQL failed (POSTGRES_USER must own the database)");
    let record = "update refinery_schema_history set checksum = $2 where version = $1";
    for (version, checksum) in CHANGED {
        client.execute(record, &[&version, &checksum]).await?;
    }
    if report.is_ok() {
        keys::give_new(&client).await?;
    }
    // Session settings and lock end with the connection.
    drop(Object::take(client));
    for migration in report?.applied_migrations() {
        tracing::info!(migration = %migration, "migration applied");
    }
    Ok(())
}

/// Ends the upgrade, for ever. Returns whether it had not ended. A repeated call goes on where an earlier one failed.
pub(super) async fn finish(pool: &Pool) -> anyhow::Result<bool> {
    let client = pool.get().await?;
    client.batch_execute("set statement_timeout = 0; set lock_timeout = 0").await?;
    lock(&**client, "select pg_try_advisory_lock($1)").await?;
    let outcome = end(&client).await;
    drop(Object::take(client));
    outcome.context("the upgrade has not ended (POSTGRES_USER must own the database)")
}

async fn end(client: &Object) -> anyhow::Result<bool> {
    let replaced = keys::replace(client).await?;
    let query = "select allowed from tenant_changes";
    let ended: bool = client.query_one(query, &[]).await?.try_get(0)?;
    if !ended {
        client.batch_execute(FINISH).await?;
    }
    Ok(!ended || replaced)
}

/// Waits for the lock of the migrating node by asking for it: a statement that waits holds a snapshot, and an index that is
/// built concurrently waits for those.
pub(super) async fn lock(
    client: &impl GenericClient,
    ask: &str,
) -> Result<(), tokio_postgres::Error> {
    while !client.query_one(ask, &[&MIGRATION_LOCK]).await?.try_get::<_, bool>(0)? {
        sleep(ASK_AGAIN).await;
    }
    Ok(())
}

/// Applies the migrations up to a version, as an earlier program would have.
#[cfg(test)]
pub(super) async fn apply(client: &mut tokio_postgres::Client, version: i32) {
    let runner = migrations::runner().set_target(refinery::Target::Version(version));
    runner.run_async(client).await.unwrap();
}

#[cfg(test)]
mod tests {
    use frontdesk_test_support::Servers;

    use super::*;
    use crate::text::tests::open;

    const RECORDED: &str = "select checksum from refinery_schema_history where version = 2";

    #[tokio::test]
    async fn a_database_of_version_1_is_migrated_without_writing_its_messages_again() {
        let database = Servers::get().await.postgres_database().await;
        let client = database.client().await;
        let first = migrations::runner();
        let first = first.get_migrations().iter().find(|it| it.version() == 1).unwrap();
        client.batch_execute(first.sql().unwrap()).await.unwrap();
        client
            .batch_execute(&format!(
                "create table refinery_schema_history (version int4 primary key, \
                   name varchar(255), applied_on varchar(255), checksum varchar(255)); \
                 insert into refinery_schema_history values \
                   (1, 'sessions_and_messages', '2026-01-01T00:00:00Z', '{}'); \
                 insert into sessions (id, customer_id, dentist_id, created_at, active_at) \
                   values (gen_random_uuid(), 'c', 'd', now(), now()); \
                 insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, \
                   kind, body, created_at) \
                   select id, 1, gen_random_uuid(), 'customer', 'c', 'k', 'text', 'old', now() \
                   from sessions",
                first.checksum()
            ))
            .await
            .unwrap();
        let written = "select xmin::text from messages";
        let before: String = client.query_one(written, &[]).await.unwrap().get(0);
        drop(open(&database).await.unwrap());
        let after: String = client.query_one(written, &[]).await.unwrap().get(0);
        assert_eq!(before, after, "the message was not written again");
        // Earlier versions of the program find their migration.
        let sum: String = client.query_one(RECORDED, &[]).await.unwrap().get(0);
        assert_eq!(sum, CHANGED[0].1);
        // A node was killed before it had recorded the checksum.
        let own = "update refinery_schema_history set checksum = '7' where version = 2";
        let of_text = migrations::runner();
        let of_text = of_text.get_migrations().iter().find(|it| it.version() == 2).unwrap();
        client.batch_execute(&own.replace('7', &of_text.checksum().to_string())).await.unwrap();
        drop(open(&database).await.unwrap());
        let again: String = client.query_one(RECORDED, &[]).await.unwrap().get(0);
        assert_eq!(again, CHANGED[0].1);
        // A database of another program is refused.
        let other = "update refinery_schema_history set checksum = '7' where version = 3";
        client.batch_execute(other).await.unwrap();
        let refused = format!("{:#}", open(&database).await.unwrap_err());
        assert!(refused.contains("V3__"), "{refused}");
    }
}
