//! The names of people in sessions: the directory's, as far as they are known.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use frontdesk_test_support::{eventually, unique};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::store::{NewSession, Store, contract::world::Acting, sqlite::Sqlite};
use identity::{
    directory::{
        Directory, DirectoryError, Entry,
        counts::DirectoryCounts,
        people::{People, PeopleParts},
    },
    people_table::PeopleTable,
};
use model::{
    ids::{SessionId, TenantId},
    person::{Person, PersonId, Side},
    session::{Member, Session},
};
use platform::{new_id, tasks::Tasks};

/// Directory controlled by the test.
struct Puppet {
    asked: AtomicUsize,
    down: AtomicBool,
    name: Mutex<Option<&'static str>>,
    /// Answer to whether two people may talk. `None`: no such query.
    may_talk: Mutex<Option<bool>>,
    /// A look-up takes one permit.
    gate: Semaphore,
}

#[async_trait]
impl Directory for Puppet {
    async fn person(&self, _: &Person) -> Result<Option<Entry>, DirectoryError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        if self.down.load(Ordering::Relaxed) {
            return Err(DirectoryError::Unavailable(Arc::new(std::io::Error::other("down"))));
        }
        Ok(self.name.lock().unwrap().map(|name| Entry {
            name: name.into(),
            avatar_url: "https://pictures.example/2.png".parse().ok(),
            email: "ada@example.test".parse().ok(),
        }))
    }

    fn has_relations(&self) -> bool {
        self.may_talk.lock().unwrap().is_some()
    }

    async fn may_talk(&self, _: &PersonId, _: &PersonId) -> Result<bool, DirectoryError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.down.load(Ordering::Relaxed) {
            return Err(DirectoryError::Unavailable(Arc::new(std::io::Error::other("down"))));
        }
        Ok(self.may_talk.lock().unwrap().unwrap())
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        Ok(())
    }
}

struct World {
    directory: Arc<Puppet>,
    store: Arc<dyn Store>,
    people: Arc<People>,
    customer: Person,
    dentist: Person,
    session: SessionId,
    _dir: TempDir,
}

impl World {
    async fn new(lifetime: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&dir.path().join("test.db")).unwrap();
        let table = PeopleTable(db::Database::Sqlite(Arc::clone(&store.db)));
        let store: Arc<dyn Store> = Arc::new(store);
        let directory = Arc::new(Puppet {
            asked: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            name: Mutex::new(Some("Ada Byron")),
            may_talk: Mutex::default(),
            gate: Semaphore::new(1_000),
        });
        let people = People::start(PeopleParts {
            tasks: Tasks::default(),
            directory: Arc::clone(&directory) as Arc<dyn Directory>,
            table,
            lifetime,
            counts: DirectoryCounts::default(),
        });
        let person = |kind| Person::new(TenantId::MAIN, kind, unique("p").parse().unwrap());
        let (customer, dentist) = (person(Side::Contact), person(Side::Desk));
        let member = |person: &Person| Member {
            person: person.clone(),
            name: "Last known".into(),
            avatar_url: None,
            email: None,
        };
        let session = SessionId(new_id());
        let new = NewSession { id: session, contact: member(&customer), agent: member(&dentist) };
        store.open_session(&customer.scope(), &new).await.unwrap();
        Self { directory, store, people, customer, dentist, session, _dir: dir }
    }

    /// The session as the member sees it.
    async fn shown_to(&self, me: &Person) -> Session {
        let mut session = self.store.session(&me.scope(), self.session).await.unwrap().unwrap();
        self.people.shown(&session);
        self.people.disclose(me, &mut session).await;
        session
    }

    fn asked(&self) -> usize {
        self.directory.asked.load(Ordering::Relaxed)
    }
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn who_is_shown_is_looked_up_once_a_lifetime_and_the_store_keeps_what_was_said() {
    let world = World::new(LONG).await;
    assert_eq!(world.shown_to(&world.customer).await.contact.name, "Last known");
    eventually("both have their new names", async || {
        let session = world.shown_to(&world.customer).await;
        session.contact.name == "Ada Byron" && session.agent.avatar_url.is_some()
    })
    .await;
    assert_eq!(world.asked(), 2, "each once");
    world.people.look_up(&world.customer).await.unwrap();
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn after_its_lifetime_an_entry_is_asked_for_again() {
    let world = World::new(Duration::from_millis(50)).await;
    world.people.look_up(&world.customer).await.unwrap();
    *world.directory.name.lock().unwrap() = Some("Ada Lovelace");
    eventually("the new name", async || {
        world.shown_to(&world.dentist).await.contact.name == "Ada Lovelace"
    })
    .await;
    // A person that the directory has forgotten keeps the last known name.
    *world.directory.name.lock().unwrap() = None;
    eventually("nobody", async || world.people.look_up(&world.customer).await.unwrap().is_none())
        .await;
    assert_eq!(world.shown_to(&world.dentist).await.contact.name, "Ada Lovelace");
}

#[tokio::test]
async fn a_crowd_that_asks_for_one_person_is_one_look_up() {
    let world = World::new(LONG).await;
    world.directory.gate.forget_permits(1_000);
    let crowd: Vec<_> = (0..50)
        .map(|_| {
            let (people, person) = (Arc::clone(&world.people), world.customer.clone());
            tokio::spawn(
                async move { people.look_up(&person).await.unwrap().unwrap().name.clone() },
            )
        })
        .collect();
    eventually("it is asked", async || world.asked() > 0).await;
    world.directory.gate.add_permits(50);
    for asker in crowd {
        assert_eq!(asker.await.unwrap(), "Ada Byron");
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn a_directory_that_is_down_is_left_alone_for_a_second() {
    let world = World::new(LONG).await;
    world.directory.down.store(true, Ordering::Relaxed);
    for person in [&world.customer, &world.dentist, &world.customer] {
        assert!(world.people.look_up(person).await.is_err());
    }
    assert_eq!(world.asked(), 1);
    world.directory.down.store(false, Ordering::Relaxed);
    eventually("it is asked again", async || {
        world.people.look_up(&world.customer).await.is_ok_and(|found| found.is_some())
    })
    .await;
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn an_email_is_for_the_dentist_and_only_where_it_is_at_hand() {
    let world = World::new(LONG).await;
    world.directory.down.store(true, Ordering::Relaxed);
    assert_eq!(world.shown_to(&world.dentist).await.contact.email, None);
    world.directory.down.store(false, Ordering::Relaxed);
    eventually("the dentist sees the customer's", async || {
        world.shown_to(&world.dentist).await.contact.email.is_some()
    })
    .await;
    for me in [&world.customer, &world.dentist] {
        let session = world.shown_to(me).await;
        assert_eq!(session.agent.email, None);
        assert_eq!(session.contact.email.is_some(), me.side == Side::Desk);
    }
}

#[tokio::test]
async fn whom_nobody_knows_is_asked_for_once_in_a_while() {
    let world = World::new(LONG).await;
    *world.directory.name.lock().unwrap() = None;
    for _ in 0..50 {
        assert!(world.people.look_up(&world.customer).await.unwrap().is_none());
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn who_may_talk_to_whom_is_asked_once_in_a_while_and_nobody_may_while_none_can_tell() {
    let world = World::new(LONG).await;
    let may_talk = async |customer: &str| {
        let customer = customer.parse().unwrap();
        let customer = Person::new(TenantId::MAIN, Side::Contact, customer);
        world.people.may_talk(&customer, &world.dentist).await
    };
    assert!(may_talk("a").await.unwrap(), "everyone may, without a query");
    assert_eq!(world.asked(), 0);
    let says = |may| *world.directory.may_talk.lock().unwrap() = Some(may);
    says(false);
    for _ in 0..5 {
        assert!(!may_talk("a").await.unwrap());
    }
    says(true);
    assert!(may_talk("b").await.unwrap() && !may_talk("a").await.unwrap());
    assert_eq!(world.asked(), 2, "each pair once");
    world.directory.down.store(true, Ordering::Relaxed);
    for _ in 0..5 {
        assert!(may_talk("c").await.is_err());
    }
    assert_eq!(world.asked(), 3, "it is left alone");
    assert!(may_talk("b").await.unwrap(), "what was said counts");
}
