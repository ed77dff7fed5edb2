//! Replies between people.

use super::world::{Acting, World, customer, dentist};
use model::{
    ids::TenantId,
    person::{Person, Side},
};

contract!(
    c8_sessions_wait_until_their_dentist_writes_or_they_are_closed,
    who_has_written_in_a_session_is_known,
);

async fn c8_sessions_wait_until_their_dentist_writes_or_they_are_closed(world: World) {
    let me = customer();
    let waiting = async |limit| world.store.unanswered(&me.scope(), limit).await.unwrap();
    assert_eq!(waiting(50).await, 0);
    let mut opened = Vec::new();
    for _ in 0..4 {
        let dentist = dentist();
        opened.push((world.open(&me, &dentist).await, dentist));
    }
    world.open(&customer(), &dentist()).await;
    assert_eq!((waiting(50).await, waiting(3).await), (4, 3), "others' do not count");
    // The customer's own messages are no reply.
    world.say(opened[0].0, &me, 2).await;
    assert_eq!(waiting(50).await, 4);
    world.say(opened[0].0, &opened[0].1, 1).await;
    assert_eq!(waiting(50).await, 3);
    let closed = opened[1].0.0;
    assert!(
        world
            .execute(&format!("update sessions set status = 'closed' where id = '{closed}'"))
            .await
    );
    assert_eq!(waiting(50).await, 2);
}

async fn who_has_written_in_a_session_is_known(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let has_written = async |who: &Person| {
        world.store.has_written(&customer.scope(), id, &who.name()).await.unwrap()
    };
    world.say(id, &customer, 1).await;
    assert!(has_written(&customer).await && !has_written(&dentist).await);
    // The same id on the other side is another person.
    assert!(!has_written(&Person::new(TenantId::MAIN, Side::Desk, customer.id.clone())).await);
    world.say(id, &dentist, 1).await;
    assert!(has_written(&dentist).await);
}
