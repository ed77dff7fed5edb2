use std::{collections::BTreeSet, time::Duration};

use frontdesk_test_support::{PostgresDatabase, Servers};
use rusqlite::Connection;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::super::migrations;
use crate::{sqlite, text::tests::open};

/// Unique indexes of tables with a tenant that begin with something else.
const WITHOUT_TENANT: [(&str, &str); 5] = [
    ("issuers_issuer_key", "an issuer names one tenant of all"),
    ("search_queue_pkey", "rows are taken in order, whosever they are"),
    ("search_again_pkey", "the same"),
    ("push_jobs_pkey", "version 9 writes this table"),
    ("push_jobs_waiting", "the same"),
];

/// Unique indexes and foreign keys of tables with a tenant, by the name of their first column.
const FIRST_COLUMNS: &str = "
    select c.relname::text as name, a.attname::text as first from pg_index i
        join pg_class c on c.oid = i.indexrelid
        join pg_attribute t on t.attrelid = i.indrelid and t.attname = 'tenant_id'
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indisunique and c.relnamespace = 'public'::regnamespace
    union all
    select f.conname::text, a.attname::text from pg_constraint f
        join pg_attribute t on t.attrelid = f.conrelid and t.attname = 'tenant_id'
        join pg_attribute a on a.attrelid = f.conrelid and a.attnum = f.conkey[1]
        where f.contype = 'f' and f.connamespace = 'public'::regnamespace";

async fn begin_with_something_else(database: &PostgresDatabase) -> BTreeSet<String> {
    let rows = database.client().await.query(FIRST_COLUMNS, &[]).await.unwrap();
    assert!(rows.len() > 20, "{}", rows.len());
    let others = rows.iter().filter(|row| row.get::<_, &str>("first") != "tenant_id");
    others.map(|row| row.get("name")).collect()
}

async fn has_all_indexes(database: &PostgresDatabase) -> bool {
    let last = "select from pg_index where indexrelid = to_regclass('sessions_notes_of_tenant') and indisvalid";
    !database.client().await.query(last, &[]).await.unwrap().is_empty()
}

fn exempt() -> BTreeSet<String> {
    WITHOUT_TENANT.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[tokio::test]
async fn i15_keys_begin_with_the_tenant() {
    let database = Servers::get().await.postgres_database().await;
    drop(open(&database).await.unwrap());
    assert_eq!(begin_with_something_else(&database).await, exempt());
}

const SESSION: &str =
    "insert into sessions (id, customer_id, dentist_id, last_seq, created_at, active_at)
    values ($1, 'ada', '7', 1, now(), now())";

const MESSAGE: &str = "insert into messages
    (session_id, seq, id, sender_kind, sender_id, client_id, kind, body, created_at)
    values ($1, $2, gen_random_uuid(), 'customer', 'ada', gen_random_uuid(), 'text', 'hello', now())";

#[tokio::test]
async fn a_database_in_use_gets_its_keys_beside_other_transactions() {
    let database = Servers::get().await.postgres_database().await;
    let mut client = database.client().await;
    migrations::apply(&mut client, 19).await;
    let id = Uuid::now_v7();
    client.execute(SESSION, &[&id]).await.unwrap();
    client.execute(MESSAGE, &[&id, &1_i64]).await.unwrap();
    let edit = "insert into message_edits (session_id, seq, number, body, replaced_at) \
        values ($1, 1, 1, 'helo', now())";
    client.execute(edit, &[&id]).await.unwrap();
    // A node of this version starts, and nodes of the version before still find their conflicts.
    let postgres = open(&database).await.unwrap();
    assert_ne!(begin_with_something_else(&database).await, exempt());
    let before = "insert into members (session_id, kind, person_id, name) values ($1, 'customer', 'ada', 'Ada') \
        on conflict (session_id, kind, person_id) do update set name = excluded.name";
    client.execute(before, &[&id]).await.unwrap();
    // One who reads for long does not prevent the builds, but the swap, which is tried again.
    let mut reader = database.client().await;
    let reading = reader.transaction().await.unwrap();
    reading.batch_execute("lock table uploads in access share mode").await.unwrap();
    // A build was interrupted.
    let broken = "create unique index messages_by_id on messages (tenant_id, session_id, id);
        update pg_index set indisvalid = false where indexrelid = 'messages_by_id'::regclass";
    client.batch_execute(broken).await.unwrap();
    // A transaction goes on meanwhile, and is not lost. Another operator does the same.
    let other = client.transaction().await.unwrap();
    other.execute(MESSAGE, &[&id, &2_i64]).await.unwrap();
    let finishing =
        tokio::spawn(async move { postgres.finish_upgrade().await.map(|done| (done, postgres)) });
    let another = open(&database).await.unwrap();
    let too = tokio::spawn(async move { another.finish_upgrade().await });
    sleep(Duration::from_secs(3)).await;
    assert!(!finishing.is_finished() && !too.is_finished());
    other.commit().await.unwrap();
    let built = async {
        while !has_all_indexes(&database).await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), built).await.expect("no index");
    sleep(Duration::from_secs(2)).await;
    assert!(!finishing.is_finished(), "somebody reads");
    reading.commit().await.unwrap();
    let (replaced, postgres) = finishing.await.unwrap().unwrap();
    assert_ne!(replaced, too.await.unwrap().unwrap(), "one of them");
    assert_eq!(begin_with_something_else(&database).await, exempt());
    assert!(!postgres.finish_upgrade().await.unwrap(), "once");
    let count = "select (select count(*) from messages), (select count(*) from message_edits)";
    let row = client.query_one(count, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 1));
    // The keys hold: the same id in another tenant is another session, and in the same one it is refused.
    let twin = SESSION.replace("(id,", "(tenant_id, id,").replace("($1,", "(2, $1,");
    client.execute(&twin, &[&id]).await.unwrap();
    assert!(client.execute(&twin, &[&id]).await.is_err());
    let orphan = "insert into message_edits (tenant_id, session_id, seq, number, body, replaced_at) \
        values (2, $1, 1, 1, 'x', now())";
    assert!(client.execute(orphan, &[&id]).await.is_err(), "it has no message");
}

/// A file as version 19 left it, with a message that is searched, one that waits to be indexed, and an edit.
const WRITTEN_BEFORE: &str = "
    insert into sessions (id, customer_id, dentist_id, last_seq, created_at, active_at)
        values ('0193c3a0-0000-7000-8000-000000000001', 'ada', '7', 9, 1763000000000000, 1763000000000000);
    insert into members (session_id, kind, person_id, name)
        values ('0193c3a0-0000-7000-8000-000000000001', 'customer', 'ada', 'Ada');
    insert into messages (rowid, session_id, seq, id, sender_kind, sender_id, client_id, kind, body, created_at, search_rev)
        values (70, '0193c3a0-0000-7000-8000-000000000001', 1, '0193c3a0-0000-7000-8000-000000000002', 'customer', 'ada',
            'a', 'text', 'toothache', 1763000000000000, null),
        (90, '0193c3a0-0000-7000-8000-000000000001', 2, '0193c3a0-0000-7000-8000-000000000003', 'customer', 'ada',
            'b', 'text', 'still', 1763000000000000, 0);
    insert into message_edits (session_id, seq, number, body, replaced_at)
        values ('0193c3a0-0000-7000-8000-000000000001', 1, 1, 'tothache', 1763000000000000);
    insert into sessions (id, customer_id, dentist_id, created_at, active_at, notes_of)
        values ('0193c3a0-0000-7000-8000-000000000004', 'x', 'x', 1763000000000000, 1763000000000000,
            '0193c3a0-0000-7000-8000-000000000001');
    insert into uploads (key, session_id, kind, person_id, content_type, size, created_at)
        values ('k', '0193c3a0-0000-7000-8000-000000000001', 'customer', 'ada', 'image/png', 7, 1763000000000000);";

#[test]
fn i15_keys_of_a_file_begin_with_the_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = sqlite::connect(&dir.path().join("test.db")).unwrap();
    sqlite::migrate_to(&mut db, 19).unwrap();
    db.execute_batch(WRITTEN_BEFORE).unwrap();
    sqlite::migrate(&mut db).unwrap();
    let text = |sql: &str| db.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("select group_concat(rowid || seq) from messages"), "701,902");
    assert_eq!(text("select group_concat(message) from search_queue"), "90");
    let found =
        "select group_concat(rowid) from message_search where message_search match 'toothache'";
    assert_eq!(text(found), "70");
    assert_eq!(text("select body from message_edits where tenant_id = 1"), "tothache");
    assert_eq!(text("select id from sessions where notes_of is not null").len(), 36);
    assert_eq!(text("select key from uploads"), "k");
    for table in tables_of_tenants(&db) {
        for first in first_columns(&db, &table) {
            let is_exempt = ["issuers", "push_jobs"].contains(&table.as_str());
            assert!(first == "tenant_id" || is_exempt, "{table}: {first}");
        }
    }
    // A row of another tenant finds no session.
    let stray = "insert into members (tenant_id, session_id, kind, person_id, name) \
        values (2, '0193c3a0-0000-7000-8000-000000000001', 'customer', 'ada', 'Ada')";
    assert!(db.execute(stray, []).is_err());
}

fn tables_of_tenants(db: &Connection) -> Vec<String> {
    let sql = "select m.name from sqlite_master m join pragma_table_info(m.name) c on c.name = 'tenant_id' \
        where m.type = 'table'";
    let mut statement = db.prepare(sql).unwrap();
    let tables: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(tables.len() > 10, "{tables:?}");
    tables
}

/// First columns of a table's unique indexes and foreign keys.
fn first_columns(db: &Connection, table: &str) -> Vec<String> {
    let sql = "select c.name from pragma_index_list(?1) i join pragma_index_info(i.name) c on c.seqno = 0 \
          where i.\"unique\" \
        union all select f.\"from\" from pragma_foreign_key_list(?1) f where f.seq = 0";
    let mut statement = db.prepare(sql).unwrap();
    statement.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}
