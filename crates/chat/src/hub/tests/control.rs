//! Control messages from other nodes.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn f22_i12_what_is_for_nodes_alone_reaches_no_client_and_asks_one_for_a_sign_of_life() {
    let world = World::new().await;
    let mut doctor = world.listener().await;
    let (other, _queue) = outbound(&world.hub, &world.patient);
    world.hub.connect(&other).await;
    let person = || world.dentist.clone();
    let hint = ControlMessage::BlocksChanged { person: person() };
    let asked = ControlMessage::LifeExpected { person: person() };
    // In the control channel, and from a node of the version before.
    let before = |message: &ControlMessage| {
        BusEvent::Received(Arc::new(Broadcast::of_control(message).unwrap()))
    };
    for (hint, asked) in [
        (BusEvent::Control(hint.clone()), BusEvent::Control(asked.clone())),
        (before(&hint), before(&asked)),
    ] {
        world.heard.send(hint).await.unwrap();
        timeout(PATIENCE, world.hub.until_blocks_changed()).await.expect("the node hears it");
        world.heard.send(asked).await.unwrap();
        let asked = doctor.outbound.liveness().until_changed();
        timeout(PATIENCE, asked).await.expect("it is asked");
        assert!(!other.liveness().waits() && doctor.queue.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_hint_of_another_node_wakes_the_workers_here() {
    let world = World::new().await;
    let mut times = world.due.times();
    let hint = ControlMessage::JobsDue { after_ms: 0 };
    world.heard.send(BusEvent::Control(hint)).await.unwrap();
    timeout(PATIENCE, times.next()).await.expect("nothing wakes them");
}
