//! Full text.

use super::{
    committed,
    world::{Database, World, config, draft},
};
use crate::{
    message::amend::Amendment,
    person::Person,
    store::{Store, postgres::Postgres, search::Piece},
};

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
    let search = async |me: &Person, query: &str| {
        let found = world.store.search(me, query, 0, 10).await.unwrap();
        found.iter().map(|found| found.message.seq).collect::<Vec<_>>()
    };
    for me in [&customer, &dentist] {
        let mut found = search(me, "tooth").await;
        assert_eq!(found.remove(0), 1, "the best hit comes first");
        found.sort_unstable();
        assert_eq!(found, [2, 4]);
    }
    assert_eq!(search(&other, "tooth").await, [1], "only what is one's own");
    assert_eq!(search(&customer, "CAFE").await, [3], "without accents, in any case");
    assert_eq!(search(&customer, "tooth -crown -aches").await, [4]);
    assert_eq!(search(&customer, "\"a tooth\"").await, [2]);
    let mut either = search(&customer, "crown or gums").await;
    either.sort_unstable();
    assert_eq!(either, [2, 3]);
    for odd in ["\"", "*", "a:b & | !", "NEAR(", "'; drop table messages; --", "-tooth", "\\"] {
        search(&customer, odd).await;
    }
    let found = world.store.search(&customer, "crown", 0, 10).await.unwrap();
    let snippet = &found[0].snippet;
    assert!(snippet.contains(&Piece { text: "crown".into(), hit: true }), "{snippet:?}");
    let text: String = snippet.iter().map(|piece| piece.text.as_str()).collect();
    assert!("My crown and a tooth".contains(&text) && text.len() > 5, "{text}");
    // In pages, each hit once.
    let page = async |offset| world.store.search(&customer, "tooth", offset, 2).await.unwrap();
    let (first, second) = (page(0).await, page(2).await);
    let mut seqs: Vec<_> = first.iter().chain(&second).map(|found| found.message.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 4]);
    // What is edited is found by its new words, what is deleted not at all.
    let edit = Amendment::Edit("My bridge".to_owned().try_into().unwrap());
    let [second, third] = [committed(&appended[1]).id, committed(&appended[2]).id];
    world.store.amend(&customer, id, second, &edit).await.unwrap().unwrap();
    world.store.amend(&customer, id, third, &Amendment::Delete).await.unwrap().unwrap();
    assert_eq!(search(&dentist, "bridge").await, [2]);
    for gone in ["crown", "gums", "deleted"] {
        assert!(search(&dentist, gone).await.is_empty(), "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_reduced_by_the_language_that_is_set() {
    let world = World::on_postgres().await;
    let Database::Postgres(database) = &world.database else { panic!() };
    let config = config(database);
    let open = async |language: &str| Postgres::open(&config, language).await;
    let (one, two) = tokio::join!(open("german"), open("german"));
    assert!(one.is_ok() && two.is_ok(), "nodes may start together");
    let (customer, _, id) = world.pair().await;
    world.store.append(&[draft(id, &customer, "Es schmerzte sehr")]).await.unwrap();
    let found = one.unwrap().search(&customer, "schmerzten", 0, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    let unknown = open("klingon").await.unwrap_err().to_string();
    assert!(unknown.starts_with("SEARCH_LANGUAGE: "), "{unknown}");
}
