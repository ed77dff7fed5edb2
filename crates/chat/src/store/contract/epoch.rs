//! The epoch of the order: its renewal, and the position of a client that names none.

use jiff::{SignedDuration, Timestamp};

use super::world::{Acting, World, customer};
use crate::store::epoch::Epoch;
use model::{ids::EpochId, person::Person};
use platform::new_id;

contract!(
    an_epoch_is_renewed_once_by_those_who_saw_it,
    sessions_and_heads_carry_the_epoch,
    messages_before_a_time_are_found_for_members_alone,
);

async fn an_epoch_is_renewed_once_by_those_who_saw_it(world: World) {
    let store = &world.store;
    let first = store.epoch().await.unwrap();
    let second = store.renew_epoch(first.id, first.number).await.unwrap();
    assert!(second.id != first.id && second.follows(&first) && second.number == first.number + 1);
    assert!(second.recent_cut().is_some_and(|cut| cut < Timestamp::now()));
    // Another node that saw the first one.
    let same = store.renew_epoch(first.id, first.number).await.unwrap();
    assert_eq!((same, store.epoch().await.unwrap()), (second, second));
    // The database went back from the 40th.
    let later = store.renew_epoch(second.id, 40).await.unwrap();
    assert_eq!(later.number, 41);
    assert!(later.follows(&Epoch { number: 40, id: EpochId(new_id()), cut_at: None }));
}

async fn sessions_and_heads_carry_the_epoch(world: World) {
    let (customer, _, id) = world.pair().await;
    let epoch = world.store.epoch().await.unwrap().id;
    assert_eq!(world.store.session(&customer.scope(), id).await.unwrap().unwrap().epoch, epoch);
    let renewed = world.store.renew_epoch(epoch, 1).await.unwrap().id;
    let (_, head) = world.store.head(&customer.scope(), id).await.unwrap().unwrap();
    assert_eq!(head, renewed);
}

async fn messages_before_a_time_are_found_for_members_alone(world: World) {
    let (member, _, id) = world.pair().await;
    world.say(id, &member, 3).await;
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    let before = async |me: &Person, seq, time| {
        world.store.last_before(&me.scope(), id, seq, time).await.unwrap()
    };
    assert_eq!(before(&member, 2, now + hour).await, 2);
    assert_eq!(before(&member, u64::MAX, now + hour).await, 3);
    assert_eq!(before(&member, 3, now - hour).await, 0);
    assert_eq!(before(&customer(), 3, now + hour).await, 0);
}
