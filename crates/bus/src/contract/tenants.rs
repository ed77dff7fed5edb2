//! Law I15 on the bus.

use frontdesk_test_support::{PATIENCE, unique};
use tokio::time::timeout;

use super::World;
use crate::{
    BusEvent,
    broadcast::{Broadcast, Room},
};
use model::{
    ids::{SessionId, TenantId},
    person::{Person, PersonId, Side},
};
use platform::new_id;
use protocol::Framing;

/// The two people with one id in two tenants.
fn twins() -> [Person; 2] {
    let id: PersonId = unique("p").parse().unwrap();
    let tenants = [TenantId::MAIN, TenantId::new(2).unwrap()];
    tenants.map(|tenant| Person::new(tenant, Side::Desk, id.clone()))
}

pub(super) async fn i15_the_same_id_in_two_tenants_is_two_people(mut world: World) {
    let [ours, theirs] = twins();
    world.listener.subscribe(&[Room::User(theirs.clone())]).await.unwrap();
    for (person, online) in [(&ours, true), (&theirs, false)] {
        world.speaker.publish(Broadcast::presence(person, online, None));
    }
    let heard = world.hear().await;
    assert!(heard.contains(r#""online":false"#), "only their own: {heard}");
    assert!(!heard.contains("tenant"), "clients see no tenant: {heard}");
    // The author is known with the tenant, on every node.
    let id = SessionId(new_id());
    let session = Room::Session(theirs.session(id));
    world.listener.subscribe(std::slice::from_ref(&session)).await.unwrap();
    world.speaker.publish(Broadcast::typing(id, &theirs, true));
    let event = timeout(PATIENCE, world.heard.recv()).await.expect("nothing arrives").unwrap();
    let BusEvent::Received(typing) = event else { panic!("{event:?}") };
    assert_eq!(typing.author(), Some(&theirs));
    assert!(!typing.text(Framing::Native).as_str().contains("tenant"));

    world.speaker.mark_online(std::slice::from_ref(&ours)).await.unwrap();
    let online = world.listener.are_online(&[theirs.clone(), ours.clone()]).await.unwrap();
    assert!(!online[0], "a twin is not online");
    world.speaker.mark_offline(std::slice::from_ref(&theirs)).await.unwrap();
    assert_eq!(world.listener.are_online(&[ours]).await.unwrap(), [online[1]]);
}
