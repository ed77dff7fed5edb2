use std::sync::Arc;

use deadpool_postgres::Hook;
use frontdesk_test_support::{PostgresDatabase, Servers};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::*;
use crate::{
    counts::DatabaseCounts,
    postgres::{Opening, config::PostgresConfig},
    sqlite::Sqlite,
};
use platform::{new_id, tls::Tls};

/// Opens this database, and migrates it.
pub(crate) async fn open(database: &PostgresDatabase) -> anyhow::Result<Postgres> {
    let config = &PostgresConfig {
        host: "127.0.0.1".into(),
        port: database.port,
        database: database.name.clone(),
        user: "postgres".into(),
        password: None,
        pool_size: 4,
        tls: Tls::Off,
        ca_file: None,
        node_role: None,
    };
    let on_connect = Hook::sync_fn(|_, _| Ok(()));
    let (search_language, counts) = ("simple", DatabaseCounts::default());
    let opening = Opening { config, pool_size: 4, on_connect, search_language, counts };
    Postgres::open(opening).await
}

async fn on_postgres() -> Database {
    let database = Servers::get().await.postgres_database().await;
    Database::Postgres(Arc::new(open(&database).await.unwrap()))
}

fn on_sqlite(dir: &tempfile::TempDir) -> Database {
    Database::Sqlite(Arc::new(Sqlite::open(&dir.path().join("test.db")).unwrap()))
}

pub(crate) async fn on_each<F: Future<Output = ()>>(law: impl Fn(Database) -> F) {
    let dir = tempfile::tempdir().unwrap();
    law(on_sqlite(&dir)).await;
    law(on_postgres().await).await;
}

/// A table with a column of each type. The types' names of PostgreSQL are only remarks for SQLite.
async fn things(db: &Database) {
    let sql = "create table things (id uuid primary key, name text, size bigint, small integer, \
        fits boolean, at timestamptz)";
    db.write(Statement::new(sql, [])).await.unwrap();
}

const INSERT: &str = "insert into things (id, name, size, small, fits, at) \
    values ($1, $2, $3, $4, $5, $6) returning id";

const SEEN: &str = "insert into seen (tenant, name, times) values (1, $1, 1) \
    on conflict (tenant, name) do update set times = seen.times + 1 returning times";

/// An index that is slow lies between the key of the table and the one that `on conflict` names: so the second
/// insert meets the key first.
#[tokio::test]
async fn a_row_that_two_insert_at_the_same_moment_is_one_whichever_key_they_meet_first() {
    let database = Servers::get().await.postgres_database().await;
    let node = async || Database::Postgres(Arc::new(open(&database).await.unwrap()));
    let (db, other) = (node().await, node().await);
    for sql in [
        "create table seen (tenant integer not null, name text primary key, times bigint not null)",
        "create function slow(text) returns text language plpgsql immutable \
           as 'begin perform pg_sleep(0.1); return $1; end'",
        "create index seen_slowly on seen (slow(name))",
        "create unique index seen_of_tenant on seen (tenant, name)",
    ] {
        db.write(Statement::new(sql, [])).await.unwrap();
    }
    let seen = || Statement::new(SEEN, ["7".into()]);
    // On a busy machine a wait for the other may exceed its time limit.
    let one = async {
        loop {
            match db.write(seen()).await {
                Err(StoreError::Contended(_)) => {}
                outcome => return outcome.unwrap(),
            }
        }
    };
    let two = async {
        loop {
            match other.write_while_found([seen()]).await {
                Err(StoreError::Contended(_)) => {}
                outcome => return outcome.unwrap().remove(0),
            }
        }
    };
    let (one, two) = tokio::join!(one, two);
    let mut times = [one, two].map(|rows| rows[0].get::<i64>("times").unwrap());
    times.sort_unstable();
    assert_eq!(times, [1, 2]);
}

#[tokio::test]
async fn every_type_of_value_comes_back_as_it_was_written() {
    on_each(async |db| {
        things(&db).await;
        let (id, at) = (new_id(), Timestamp::from_microsecond(1_763_000_000_123_456).unwrap());
        let full = [id.into(), "Zöe".into(), i64::MAX.into(), 7_u32.into(), true.into(), at.into()];
        db.write(Statement::new(INSERT, full)).await.unwrap();
        let nothing = || Value::Null;
        let empty = [new_id().into(), nothing(), nothing(), nothing(), nothing(), nothing()];
        db.write(Statement::new(INSERT, empty)).await.unwrap();
        let all = "select * from things where size is not null or $1 order by size desc";
        let rows = db.read(Statement::new(all, [true.into()])).await.unwrap();
        let (full, empty): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| row.get::<Option<i64>>("size").unwrap().is_some());
        assert_eq!(full[0].get::<Uuid>("id").unwrap(), id);
        assert_eq!(full[0].get::<String>("name").unwrap(), "Zöe");
        assert_eq!(full[0].parsed::<String>("name").unwrap(), "Zöe");
        assert_eq!(full[0].count("size").unwrap(), i64::MAX.unsigned_abs());
        assert!(full[0].get::<bool>("fits").unwrap());
        assert_eq!(full[0].get::<Timestamp>("at").unwrap(), at);
        assert_eq!(empty[0].get::<Option<String>>("name").unwrap(), None);
        assert_eq!(empty[0].get::<Option<bool>>("fits").unwrap(), None);
        assert_eq!(empty[0].get::<Option<Timestamp>>("at").unwrap(), None);
        // Neither a missing column nor another type is read as something.
        assert!(full[0].get::<String>("nothing").is_err() && full[0].get::<bool>("name").is_err());
        assert!(full[0].parsed::<u32>("name").is_err() && empty[0].get::<String>("name").is_err());
    })
    .await;
}

#[tokio::test]
async fn tokens_mean_the_same_in_both_databases() {
    on_each(async |db| {
        let sql = "select value from {each:$1} order by value";
        let texts: Vec<String> = ["b", "a'\"", "ü,{}"].map(str::to_owned).into();
        let rows = db.read(Statement::new(sql, [texts.into()])).await.unwrap();
        let values: Vec<String> = rows.iter().map(|row| row.get("value").unwrap()).collect();
        assert_eq!(values, ["a'\"", "b", "ü,{}"]);
        things(&db).await;
        let sql = "insert into things (id, at) values ($1, {now}), ($2, {ago:60}) returning at";
        let ids = [new_id().into(), new_id().into()];
        let rows = db.write(Statement::new(sql, ids)).await.unwrap();
        let at = |row: usize| rows[row].get::<Timestamp>("at").unwrap();
        assert_eq!(at(0).duration_since(at(1)), SignedDuration::from_secs(60));
        let off = Timestamp::now().duration_since(at(0)).abs();
        assert!(off < SignedDuration::from_mins(5), "{off}");
        let wrong = Statement::new("select {nwo}", []);
        assert!(matches!(db.read(wrong).await, Err(StoreError::Refused(_))));
    })
    .await;
}

#[tokio::test]
async fn a_transaction_ends_at_the_first_statement_without_a_row_and_fails_as_a_whole() {
    on_each(async |db| {
        things(&db).await;
        let count = async || {
            let count = Statement::new("select count(*) as things from things", []);
            db.read(count).await.unwrap()[0].count("things").unwrap()
        };
        let insert = "insert into things (id) values ($1) returning id";
        let delete = "delete from things where id = $1 returning id";
        let (one, other) = (new_id(), new_id());
        let statements =
            [Statement::new(delete, [one.into()]), Statement::new(insert, [one.into()])];
        assert_eq!(db.write_while_found(statements).await.unwrap().len(), 1);
        assert_eq!(count().await, 0);
        let twice = [one, other, one].map(|id| Statement::new(insert, [id.into()]));
        assert!(matches!(db.write_while_found(twice).await, Err(StoreError::Refused(_))));
        assert_eq!(count().await, 0, "nothing of it was written");
        let both = [one, other].map(|id| Statement::new(insert, [id.into()]));
        assert_eq!(db.write_while_found(both).await.unwrap().len(), 2);
        assert_eq!(count().await, 2);
    })
    .await;
}
