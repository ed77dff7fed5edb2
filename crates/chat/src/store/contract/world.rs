//! A fresh database, and people to write into it.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use frontdesk_test_support::{PostgresDatabase, Servers, unique};
use tempfile::TempDir;

use crate::store::{Appended, HistoryRange, NewSession, Store, postgres::Postgres, sqlite::Sqlite};
use db::counts::DatabaseCounts;
use db::postgres::config::PostgresConfig;
use identity::{
    audit::{Actor, table::AuditTable},
    blocks::table::BlockTable,
    people_table::PeopleTable,
};
use media::uploads::UploadTable;
use model::{
    ids::{SessionId, TenantId},
    message::Draft,
    person::{Person, Side},
    scope::{AdminScope, Grants, Scope},
    session::Member,
};
use platform::new_id;

pub(crate) enum Database {
    Postgres(PostgresDatabase),
    Sqlite(PathBuf, #[expect(dead_code, reason = "it is deleted with this")] TempDir),
}

/// A fresh database.
pub(crate) struct World {
    pub(super) database: Database,
    pub(super) store: Arc<dyn Store>,
    pub(super) handle: db::Database,
}

pub(crate) fn config(database: &PostgresDatabase) -> PostgresConfig {
    PostgresConfig {
        host: "127.0.0.1".into(),
        port: database.port,
        database: database.name.clone(),
        user: "postgres".into(),
        password: None,
        pool_size: 4,
        tls: platform::tls::Tls::Off,
        ca_file: None,
        node_role: None,
    }
}

pub(crate) async fn postgres(database: &PostgresDatabase) -> Postgres {
    Postgres::open(&config(database), "simple", DatabaseCounts::default()).await.unwrap()
}

impl World {
    pub(super) async fn on_postgres() -> Self {
        let database = Servers::get().await.postgres_database().await;
        let store = Arc::new(postgres(&database).await);
        let handle = db::Database::Postgres(Arc::clone(&store.db));
        Self { database: Database::Postgres(database), store, handle }
    }

    pub(super) fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let store = Arc::new(Sqlite::open(&path).unwrap());
        let handle = db::Database::Sqlite(Arc::clone(&store.db));
        Self { database: Database::Sqlite(path, dir), store, handle }
    }

    pub(super) fn blocks(&self) -> BlockTable {
        BlockTable(self.handle.clone())
    }

    pub(super) fn audit(&self) -> AuditTable {
        AuditTable(self.handle.clone())
    }

    pub(super) fn people(&self) -> PeopleTable {
        PeopleTable(self.handle.clone())
    }

    pub(super) fn uploads(&self) -> UploadTable {
        UploadTable(self.handle.clone())
    }

    /// A store of another node: its own connections to the same database.
    pub(super) async fn another_node(&self) -> Arc<dyn Store> {
        match &self.database {
            Database::Postgres(database) => Arc::new(postgres(database).await),
            Database::Sqlite(path, _) => Arc::new(Sqlite::open(path).unwrap()),
        }
    }

    /// A handle of another node.
    pub(super) async fn another_handle(&self) -> db::Database {
        match &self.database {
            Database::Postgres(database) => {
                db::Database::Postgres(Arc::clone(&postgres(database).await.db))
            }
            Database::Sqlite(path, _) => {
                db::Database::Sqlite(Arc::new(db::sqlite::Sqlite::open(path).unwrap()))
            }
        }
    }

    /// A store of another node, with pushes enabled.
    pub(super) async fn pushing(&self, delay: Duration) -> Arc<dyn Store> {
        match &self.database {
            Database::Postgres(database) => {
                Arc::new(postgres(database).await.with_pushes(Some(delay)))
            }
            Database::Sqlite(path, _) => {
                Arc::new(Sqlite::open(path).unwrap().with_pushes(Some(delay)))
            }
        }
    }

    /// Runs a statement directly in the database. Returns false if the database rejects it.
    pub(super) async fn execute(&self, sql: &str) -> bool {
        match &self.database {
            Database::Postgres(database) => {
                database.client().await.batch_execute(sql).await.is_ok()
            }
            Database::Sqlite(path, _) => {
                rusqlite::Connection::open(path).unwrap().execute_batch(sql).is_ok()
            }
        }
    }

    /// Makes the texts of a session wait to be indexed, as long ones do. SQLite indexes none in the commit of its message.
    pub(super) async fn queue_texts(&self, id: SessionId) {
        if matches!(self.database, Database::Postgres(_)) {
            let queue = format!(
                "with waiting as (update messages set search = null \
                 where search is not null and session_id = '{}' returning session_id, seq) \
                 insert into search_queue (session_id, seq) select session_id, seq from waiting",
                id.0
            );
            assert!(self.execute(&queue).await);
        }
    }

    /// Runs a `select count(*)` directly in the database.
    pub(super) async fn count(&self, sql: &str) -> i64 {
        match &self.database {
            Database::Postgres(database) => {
                database.client().await.query_one(sql, &[]).await.unwrap().get(0)
            }
            Database::Sqlite(path, _) => {
                let db = rusqlite::Connection::open(path).unwrap();
                db.query_row(sql, [], |row| row.get(0)).unwrap()
            }
        }
    }

    pub(super) async fn open(&self, customer: &Person, dentist: &Person) -> SessionId {
        self.store.open_session(&customer.scope(), &new_session(customer, dentist)).await.unwrap().0
    }

    /// Opens a session with this id, as another tenant may have one.
    pub(super) async fn open_as(&self, id: SessionId, customer: &Person, dentist: &Person) {
        let new = NewSession { id, ..new_session(customer, dentist) };
        assert_eq!(self.store.open_session(&customer.scope(), &new).await.unwrap(), (id, true));
    }

    pub(super) async fn pair(&self) -> (Person, Person, SessionId) {
        let (customer, dentist) = (customer(), dentist());
        let id = self.open(&customer, &dentist).await;
        (customer, dentist, id)
    }

    pub(super) async fn say(&self, id: SessionId, sender: &Person, count: usize) {
        let drafts: Vec<Draft> = (0..count).map(|n| draft(id, sender, &n.to_string())).collect();
        self.store.append(&drafts).await.unwrap();
    }

    pub(super) async fn history(
        &self,
        me: &Person,
        id: SessionId,
        range: HistoryRange,
        limit: u32,
    ) -> Vec<u64> {
        let messages = self.store.history(&me.scope(), id, range, limit).await.unwrap();
        messages.iter().map(|message| message.seq).collect()
    }
}

/// Retries drafts that another node has locked, as the writer does.
pub(crate) async fn append(node: &dyn Store, mut drafts: Vec<Draft>) -> Vec<Appended> {
    let mut all = Vec::new();
    while !drafts.is_empty() {
        let appended = node.append(&drafts).await.unwrap();
        let (locked, done): (Vec<_>, Vec<_>) =
            drafts.into_iter().zip(appended).partition(|(_, it)| matches!(it, Appended::Locked));
        drafts = locked.into_iter().map(|(draft, _)| draft).collect();
        all.extend(done.into_iter().map(|(_, appended)| appended));
        tokio::task::yield_now().await;
    }
    all
}

pub(crate) fn customer() -> Person {
    Person::new(TenantId::MAIN, Side::Contact, unique("c").parse().unwrap())
}

pub(crate) fn dentist() -> Person {
    Person::new(TenantId::MAIN, Side::Desk, unique("d").parse().unwrap())
}

/// Scopes of people, as their tokens give them.
pub(crate) trait Acting {
    /// Their scope, without grants.
    fn scope(&self) -> Scope;

    /// Their scope as an admin.
    fn admin(&self) -> AdminScope;
}

impl Acting for Person {
    fn scope(&self) -> Scope {
        Scope::new(self.clone(), Grants::default())
    }

    fn admin(&self) -> AdminScope {
        Scope::new(self.clone(), Grants { admin: true }).into_admin().unwrap()
    }
}

/// An admin, in this tenant.
pub(crate) fn actor_of(tenant: TenantId) -> Actor {
    let scope = Person { tenant, ..dentist() }.admin();
    let address = IpAddr::from([192, 0, 2, 7]).into();
    Actor { scope, address, request_id: unique("request") }
}

/// An admin.
pub(crate) fn actor() -> Actor {
    actor_of(TenantId::MAIN)
}

pub(crate) fn new_session(customer: &Person, dentist: &Person) -> NewSession {
    let member = |person: &Person, name: &str| Member {
        person: person.clone(),
        name: name.into(),
        avatar_url: Some("https://pictures.example/1.png".parse().unwrap()),
        email: None,
    };
    NewSession {
        id: SessionId(new_id()),
        contact: member(customer, "Ada"),
        agent: member(dentist, "Dana"),
    }
}

pub(crate) fn draft(session_id: SessionId, sender: &Person, body: &str) -> Draft {
    Draft {
        id: new_id(),
        session_id,
        sender: sender.clone(),
        client_id: unique("k").parse().unwrap(),
        body: Some(body.to_owned().try_into().unwrap()),
        image: None,
        reply_to: None,
    }
}
