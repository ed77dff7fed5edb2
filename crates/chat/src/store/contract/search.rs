//! Full text search.

use super::{
    committed,
    world::{Acting, Database, World, append, config, draft},
};
use crate::store::{
    Store,
    postgres::Postgres,
    search::{Found, Piece, terms::Terms},
    search_queue::SearchBacklog,
};
use db::StoreError;
use model::{
    ids::{SessionId, TenantId},
    message::amend::Amendment,
    person::{Person, Side},
};
use platform::new_id;

/// Indexes all waiting messages. Returns how many.
pub(super) async fn index_all(store: &dyn Store) -> u32 {
    let mut messages = 0;
    loop {
        let indexed = store.index_waiting(64).await.unwrap();
        assert!(!indexed.too_costly && indexed.given_up == 0);
        if indexed.messages == 0 {
            return messages;
        }
        messages += indexed.messages;
    }
}

pub(super) async fn page(
    store: &dyn Store,
    me: &Person,
    typed: &str,
    offset: u32,
    limit: u32,
) -> Vec<Found> {
    let Some(terms) = Terms::parse(typed) else { return Vec::new() };
    store.search(&me.scope(), &terms, offset, limit).await.unwrap().unwrap().found
}

pub(super) async fn search(store: &dyn Store, me: &Person, typed: &str) -> Vec<u64> {
    let found = page(store, me, typed, 0, 10).await;
    found.iter().map(|found| found.message.seq).collect()
}

/// The same, in the order of the session.
pub(super) async fn search_sorted(store: &dyn Store, me: &Person, typed: &str) -> Vec<u64> {
    let mut found = search(store, me, typed).await;
    found.sort_unstable();
    found
}

pub(super) async fn a_reaction_while_a_text_is_indexed_takes_it_from_no_search(world: World) {
    let (customer, _, id) = world.pair().await;
    let like = Amendment::React { emoji: "👍".parse().unwrap(), on: true };
    for round in 0..60_u64 {
        let text = format!("tooth{round}");
        let appended = append(&*world.store, vec![draft(id, &customer, &text)]).await;
        let message = committed(&appended[0]).id;
        world.queue_texts(id).await;
        // The reaction is committed at the very moment when the text is indexed.
        let reacting = async {
            tokio::time::sleep(std::time::Duration::from_micros(round * 100)).await;
            world.store.amend(&customer.scope(), id, message, &like).await.unwrap().unwrap();
        };
        tokio::join!(reacting, index_all(&*world.store));
        index_all(&*world.store).await;
        assert_eq!(search(&*world.store, &customer, &text).await, [round + 1]);
    }
}

pub(super) async fn b39_search_finds_ones_own_messages_best_first(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let (other, _, elsewhere) = world.pair().await;
    let bodies = [
        "The tooth aches: tooth, tooth, tooth",
        "My crown and a tooth",
        "Gums bleed at the café",
        "nothing of the kind <b>tooth</b>brush",
    ];
    let drafts: Vec<_> = bodies.iter().map(|body| draft(id, &customer, body)).collect();
    let appended = world.store.append(&drafts).await.unwrap();
    world.store.append(&[draft(elsewhere, &other, "another's tooth")]).await.unwrap();
    let store = &*world.store;
    // The newest messages are found before they are indexed, with the same results afterwards.
    finds(store, &customer, &dentist, &other).await;
    for queued in [id, elsewhere] {
        world.queue_texts(queued).await;
    }
    finds(store, &customer, &dentist, &other).await;
    assert_eq!(index_all(store).await, 5);
    finds(store, &customer, &dentist, &other).await;
    // An edited text is found by its new words, a deleted one not at all.
    let edit = Amendment::Edit("My bridge".to_owned().try_into().unwrap());
    let [second, third] = [committed(&appended[1]).id, committed(&appended[2]).id];
    store.amend(&customer.scope(), id, second, &edit).await.unwrap().unwrap();
    store.amend(&customer.scope(), id, third, &Amendment::Delete).await.unwrap().unwrap();
    for waiting in [1, 0] {
        assert_eq!(search(store, &dentist, "bridge").await, [2]);
        for gone in ["crown", "gums", "deleted"] {
            assert!(search(store, &dentist, gone).await.is_empty(), "{gone}");
        }
        assert_eq!(index_all(store).await, waiting);
    }
    let like = Amendment::React { emoji: "👍".parse().unwrap(), on: true };
    store.amend(&customer.scope(), id, second, &like).await.unwrap().unwrap();
    assert_eq!(index_all(store).await, 0, "a reaction changes no text");
    assert_eq!(search(store, &dentist, "bridge").await, [2]);
}

async fn finds(store: &dyn Store, customer: &Person, dentist: &Person, other: &Person) {
    for me in [customer, dentist] {
        let mut found = search(store, me, "tooth").await;
        assert_eq!(found.remove(0), 1, "the best hit comes first");
        found.sort_unstable();
        assert_eq!(found, [2, 4]);
    }
    assert_eq!(search(store, other, "tooth").await, [1], "only what is one's own");
    for (typed, seqs) in [
        ("CAFE", &[3][..]),
        ("cafe\u{301}", &[3]),
        ("tooth -crown -aches", &[4]),
        ("\"a tooth\"", &[2]),
        ("\"tooth a\"", &[]),
        ("crown or gums", &[2, 3]),
        ("crown or gums -cafe", &[2]),
        ("crown tooth or gums bleed", &[2, 3]),
        ("tooth -\"a tooth\"", &[1, 4]),
        ("b>tooth</b", &[4]),
        ("the or of kind", &[1, 3, 4]),
        ("tooth-brush", &[]),
        ("-tooth", &[]),
        ("\"", &[]),
        ("*", &[]),
    ] {
        assert_eq!(search_sorted(store, customer, typed).await, seqs, "{typed}");
    }
    for odd in ["a:b & | !", "NEAR(", "'; drop table messages; --", "\\", "''", "body:tooth", "1e5"]
    {
        search(store, customer, odd).await;
    }
    let found = page(store, customer, "crown", 0, 10).await;
    let snippet = &found[0].snippet;
    assert!(snippet.contains(&Piece { text: "crown".into(), hit: true }), "{snippet:?}");
    let text: String = snippet.iter().map(|piece| piece.text.as_str()).collect();
    assert!("My crown and a tooth".contains(&text) && text.len() > 5, "{text}");
    // In pages, each hit once.
    let terms = Terms::parse("tooth").unwrap();
    let first = store.search(&customer.scope(), &terms, 0, 2).await.unwrap().unwrap();
    let second = store.search(&customer.scope(), &terms, 2, 2).await.unwrap().unwrap();
    assert!(first.more && !second.more);
    let both = first.found.iter().chain(&second.found);
    let mut seqs: Vec<_> = both.map(|found| found.message.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 4]);
}

pub(super) async fn a_page_of_hits_has_as_many_bytes_as_fit(world: World) {
    let (customer, _, id) = world.pair().await;
    let long = format!("tooth {}", "x ".repeat(3_900));
    let drafts: Vec<_> = (0..60).map(|_| draft(id, &customer, &long)).collect();
    world.store.append(&drafts).await.unwrap();
    index_all(&*world.store).await;
    let terms = Terms::parse("tooth").unwrap();
    let (mut seqs, mut pages) = (Vec::new(), 0);
    loop {
        let offset = u32::try_from(seqs.len()).unwrap();
        let hits =
            world.store.search(&customer.scope(), &terms, offset, 200).await.unwrap().unwrap();
        let bytes: usize = hits
            .found
            .iter()
            .map(|found| found.message.body.as_ref().unwrap().as_str().len())
            .sum();
        assert!(bytes <= 256 * 1024, "{bytes}");
        seqs.extend(hits.found.iter().map(|found| found.message.seq));
        pages += 1;
        if !hits.more {
            break;
        }
    }
    // Equal scores come newest first.
    assert_eq!(seqs, (1..=60).rev().collect::<Vec<_>>());
    assert!((3..=5).contains(&pages), "{pages}");
}

pub(super) async fn texts_that_wait_to_be_indexed_are_counted(world: World) {
    let (customer, dentist, id) = world.pair().await;
    assert_eq!(world.store.search_backlog().await.unwrap(), SearchBacklog::default());
    world.say(id, &customer, 3).await;
    world.queue_texts(id).await;
    assert_eq!(world.store.search_backlog().await.unwrap().messages, 3);
    // Two nodes at once take different ones.
    let node = world.another_node().await;
    let (here, there) = tokio::join!(world.store.index_waiting(64), node.index_waiting(64));
    assert_eq!(here.unwrap().messages + there.unwrap().messages, 3);
    assert_eq!(world.store.search_backlog().await.unwrap().messages, 0);
    assert_eq!(search(&*node, &dentist, "2").await, [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_the_index_is_bounded_in_bytes_also_where_a_character_has_several() {
    let world = World::on_sqlite();
    let (customer, _, id) = world.pair().await;
    // 24,000 bytes each: a batch of 64 KiB has room for two.
    let text = "牙".repeat(8_000);
    append(&*world.store, (0..4).map(|_| draft(id, &customer, &text)).collect()).await;
    for _ in 0..2 {
        assert_eq!(world.store.index_waiting(64).await.unwrap().messages, 2);
    }
}

/// Law I12.
pub(super) async fn i12_what_the_version_before_writes_and_reads_is_indexed(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let (id, person, message) = (id.0, customer.id.as_str(), new_id());
    let now = match world.database {
        Database::Postgres(_) => "now()",
        Database::Sqlite(..) => "1800000000000000",
    };
    let insert = format!(
        "insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, body, \
         bodiless, created_at) values ('{id}', 1, '{message}', 'customer', '{person}', 'k', 'text', \
         'my crown', false, {now})"
    );
    assert!(world.execute(&insert).await);
    assert_eq!(search(&*world.store, &dentist, "crown").await, [1]);
    let edit = "update messages set body = 'my bridge', bodiless = false, rev = 1";
    assert!(world.execute(edit).await);
    assert_eq!(world.store.search_backlog().await.unwrap().messages, 0, "in its own commit");
    assert_eq!(search(&*world.store, &dentist, "bridge").await, [1]);
    assert!(search(&*world.store, &dentist, "crown").await.is_empty());
    // It edits texts of this version, before they are indexed and after.
    let bump = format!("update sessions set last_seq = 1 where id = '{id}'");
    assert!(world.execute(&bump).await);
    for (body, index) in [("gum one", false), ("gum two", true)] {
        world.store.append(&[draft(SessionId(id), &customer, body)]).await.unwrap();
        if index {
            index_all(&*world.store).await;
        }
        let edit = format!("update messages set body = 'a plaque' where body = '{body}'");
        assert!(world.execute(&edit).await);
    }
    index_all(&*world.store).await;
    assert!(search(&*world.store, &dentist, "gum").await.is_empty());
    let found = match world.database {
        Database::Postgres(_) => {
            "select count(*) from messages where search @@ websearch_to_tsquery('frontdesk', 'plaque')"
        }
        Database::Sqlite(..) => {
            "select count(*) from message_search where message_search match 'plaque'"
        }
    };
    assert_eq!(world.count(found).await, 2, "as that version looks for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_text_is_indexed_in_the_commit_of_its_message_or_waits() {
    let world = World::on_postgres().await;
    let (customer, dentist, id) = world.pair().await;
    let long = "my gum ".repeat(80);
    append(&*world.store, ["my crown", &long].map(|text| draft(id, &customer, text)).into()).await;
    let waiting = async || world.store.search_backlog().await.unwrap().messages;
    assert_eq!(waiting().await, 1);
    let indexed = "select count(*) from messages where search @@ to_tsquery('frontdesk', 'crown')";
    assert_eq!(world.count(indexed).await, 1);
    assert_eq!(search(&*world.store, &dentist, "crown").await, [1]);
    // The version before has its texts queued by a trigger.
    let insert = format!(
        "set frontdesk.search = 'behind'; \
         insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, body, created_at) \
         values ('{}', 3, '{}', 'customer', '{}', 'k', 'text', 'my gold', now()); \
         update sessions set last_seq = 3",
        id.0,
        new_id(),
        customer.id.as_str(),
    );
    assert!(world.execute(&insert).await);
    assert_eq!(waiting().await, 2);
    assert_eq!(search(&*world.store, &dentist, "gold").await, [3]);
    // Without its configuration the database can index nothing. The message is committed all the same.
    let node = world.another_node().await;
    assert!(world.execute("alter text search configuration frontdesk rename to elsewhere").await);
    let sent = append(&*node, vec![draft(id, &customer, "my bridge")]).await;
    assert_eq!(committed(&sent[0]).seq, 4);
    assert_eq!(waiting().await, 3);
    assert!(world.execute("alter text search configuration elsewhere rename to frontdesk").await);
    index_all(&*world.store).await;
    assert_eq!(search(&*world.store, &dentist, "bridge or gold").await, [4, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_reduced_by_the_language_that_is_set() {
    let world = World::on_postgres().await;
    let Database::Postgres(database) = &world.database else { panic!() };
    let config = config(database);
    let open = async |language: &str| {
        Postgres::open(&config, language, db::counts::DatabaseCounts::default()).await
    };
    let (one, two) = tokio::join!(open("german"), open("german"));
    assert!(one.is_ok() && two.is_ok(), "nodes may start together");
    let (customer, _, id) = world.pair().await;
    world.store.append(&[draft(id, &customer, "Es schmerzte sehr")]).await.unwrap();
    let one = one.unwrap();
    for _ in 0..2 {
        let found = page(&one, &customer, "schmerzten", 0, 10).await;
        assert!(found[0].snippet.contains(&Piece { text: "schmerzte".into(), hit: true }));
        index_all(&one).await;
    }
    let unknown = open("klingon").await.unwrap_err().to_string();
    assert!(unknown.starts_with("SEARCH_LANGUAGE: "), "{unknown}");
}

/// A member and a stranger search.
pub(super) async fn c3_no_query_makes_the_database_fail(world: World) {
    let (customer, _, id) = world.pair().await;
    world
        .store
        .append(&[draft(id, &customer, &"x y - <!-- & | ! 牙5 ".repeat(400))])
        .await
        .unwrap();
    let stranger = Person::new(TenantId::MAIN, Side::Contact, "stranger".parse().unwrap());
    for waiting in [1, 0] {
        for typed in [
            "- ".repeat(60),
            "x - ".repeat(50),
            "<!--".repeat(50),
            "!".repeat(200),
            "! x ".repeat(50),
            "(x ".repeat(60),
            "x or ".repeat(40),
            "-\"x y\" ".repeat(28),
            "x ".repeat(100),
            "\"x\" ".repeat(50),
            "x:* & ".repeat(33),
            "x' | '".repeat(33),
            "a@1".repeat(66),
            "\u{301}".repeat(200),
            "\u{fffd}\u{e000}\u{10ffff}x".repeat(50),
            "牙".repeat(200),
            "牙 ".repeat(100),
            "-牙 x ".repeat(33),
            "5".repeat(200),
            "555 ".repeat(50),
            "\u{fdfa}".repeat(200),
            "牙5x".repeat(66),
            "ก\u{e33}".repeat(100),
        ] {
            let Some(terms) = Terms::parse(&typed) else { continue };
            for me in [&customer, &stranger] {
                let found: Result<_, StoreError> =
                    world.store.search(&me.scope(), &terms, 0, 10).await;
                assert!(found.unwrap().is_ok(), "{typed}");
            }
        }
        assert_eq!(index_all(&*world.store).await, waiting);
    }
}
