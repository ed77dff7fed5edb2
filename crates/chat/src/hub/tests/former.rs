//! Connections of people who no longer take part in a session.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_former_participant_is_out_of_the_room_before_the_connection_ends() {
    let world = World::new().await;
    let former = world.listener().await;
    let staying = outbound(&world.hub, &world.patient).0;
    world.hub.connect(&staying).await;
    world.hub.enter_session(world.key(), staying.id(), 0, 0).await;
    let db = rusqlite::Connection::open(world.dir.path().join("test.db")).unwrap();
    let removed =
        "update members set left_at = 1 where kind = 'dentist'; update sessions set rev = rev + 1";
    db.execute_batch(removed).unwrap();
    // The bus brings nothing.
    eventually("the connection ends", async || {
        former.outbound.closing() == Some(CloseCode::Draining)
    })
    .await;
    assert!(!world.hub.is_in(&world.room(), former.outbound.id()));
    assert!(world.hub.is_in(&world.room(), staying.id()));
    assert_eq!(staying.closing(), None);
}
