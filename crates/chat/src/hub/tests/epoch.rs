//! The rooms' epoch.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn c14_a_message_that_is_not_stored_does_not_suppress_the_next_one() {
    let world = World::new().await;
    let mut listener = world.listener().await;
    let mut messages = world.commit(1).await;
    world.hear(&messages[0]).await;
    let epoch = world.store.epoch().await.unwrap();
    let mut forged = messages.remove(0);
    forged.seq = 2;
    world.hear(&forged).await;
    assert_eq!(listener.seqs(2).await, [1, 2]);
    eventually("it is noticed", async || world.hub.counts.rewound.get() == 1).await;
    eventually("the client is sent to join anew", async || {
        listener.outbound.closing() == Some(CloseCode::Draining)
    })
    .await;
    assert_eq!(world.store.epoch().await.unwrap().number, epoch.number + 1);
    let mut anew = world.listener_from(1).await;
    let real = world.draft(2);
    world.store.append(std::slice::from_ref(&real)).await.unwrap();
    assert_eq!(anew.seq().await, 2);
    assert_eq!(world.hub.counts.rewound.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_a_database_that_went_back_to_an_earlier_epoch_gets_a_new_one() {
    let world = World::new().await;
    let first = world.store.epoch().await.unwrap();
    eventually("the hub knows it", async || world.hub.epoch() == Some(first)).await;
    let second = world.store.renew_epoch(first.id, first.number).await.unwrap();
    eventually("it is noticed", async || world.hub.epoch() == Some(second)).await;
    let idle = outbound(&world.hub, &world.patient).0;
    world.hub.connect(&idle).await;
    let listener = world.listener().await;
    let db = rusqlite::Connection::open(world.dir.path().join("test.db")).unwrap();
    let back = "update epoch set id = ?1, number = 1, cut_at = null";
    db.execute(back, [first.id.0.simple().to_string()]).unwrap();
    eventually("it is noticed", async || {
        world.hub.epoch().is_some_and(|epoch| epoch.number == second.number + 1)
    })
    .await;
    eventually("the client is sent to join anew", async || {
        listener.outbound.closing() == Some(CloseCode::Draining)
    })
    .await;
    assert_eq!(idle.closing(), None, "it is in no session");
    assert_eq!(world.hub.counts.epochs.get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_changes_after_a_cut_are_told_though_their_revisions_were_heard_before() {
    let world = World::new().await;
    let message = world.commit(1).await.remove(0);
    let edit = async |body: &str| {
        let edit = Amendment::Edit(body.to_owned().try_into().unwrap());
        let amended =
            world.store.amend(&world.patient.scope(), world.session, message.id, &edit).await;
        amended.unwrap().unwrap();
    };
    edit("one").await;
    edit("two").await;
    let first = world.listener().await;
    world.hub.enter_session(world.key(), first.outbound.id(), 1, 2).await;
    let db = rusqlite::Connection::open(world.dir.path().join("test.db")).unwrap();
    db.execute_batch("update sessions set rev = 1; update messages set rev = 1").unwrap();
    let stored = world.store.epoch().await.unwrap();
    world.store.renew_epoch(stored.id, stored.number).await.unwrap();
    eventually("it is noticed", async || world.hub.counts.epochs.get() == 1).await;
    let mut anew = world.listener().await;
    edit("another two").await;
    assert_eq!(anew.seqs(1).await, [1]);
    assert_eq!(anew.revs(1).await, [2]);
}
