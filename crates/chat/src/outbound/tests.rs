//! Full queues and slow readers.

use crate::memory::counts::MemoryCounts;
use crate::outbound::*;
use crate::store::contract::world::Acting;
use model::{ids::TenantId, person::Side};
use platform::new_id;

fn outbound() -> (Arc<Outbound>, mpsc::Receiver<Queued>) {
    let person = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
    let (queue, frames) = mpsc::channel(QUEUE);
    let (receipts, counts) = (Arc::default(), Arc::default());
    let id = ConnectionId(1);
    let memory = Memory::new(64 * 1024 * 1024, MemoryCounts::default());
    (
        Outbound::new(OutboundParts {
            id,
            scope: person.scope(),
            framing: Framing::Native,
            queue,
            receipts,
            counts,
            memory: Arc::clone(&memory),
        }),
        frames,
    )
}

#[tokio::test]
async fn i8_a_full_queue_ends_its_connection_as_slow() {
    let (outbound, _queue) = outbound();
    let other = Person::new(TenantId::MAIN, Side::Contact, "c".parse().unwrap());
    let typing = Arc::new(Broadcast::typing(SessionId(new_id()), &other, true));
    for _ in 0..QUEUE {
        outbound.push(&typing);
    }
    assert_eq!(outbound.closing(), None);
    outbound.push(&typing);
    assert_eq!(outbound.until_closing().await, CloseCode::SlowReader);
}

#[tokio::test]
async fn i8_so_does_one_that_is_full_of_bytes() {
    let (outbound, mut queue) = outbound();
    let page = serde_json::value::to_raw_value(&"x".repeat(QUEUE_BYTES / 4)).unwrap();
    outbound.answer(1, Ok(&page), None);
    assert!(outbound.is_busy(), "its requests wait");
    // A write makes room.
    outbound.written(Written::of(&mut [queue.recv().await.unwrap()]));
    assert!(!outbound.is_busy());
    for id in 2..6 {
        outbound.answer(id, Ok(&page), None);
    }
    assert_eq!(outbound.closing(), None);
    outbound.answer(6, Ok(&page), None);
    assert_eq!(outbound.until_closing().await, CloseCode::SlowReader);
}

#[tokio::test]
async fn i8_a_large_answer_waits_for_a_client_that_reads_too_little() {
    let (outbound, mut queue) = outbound();
    let first = outbound.page().await.unwrap();
    let page = serde_json::value::to_raw_value(&"x".repeat(BUSY_BYTES)).unwrap();
    outbound.answer(1, Ok(&page), None);
    drop(first);
    let next = tokio::spawn({
        let outbound = Arc::clone(&outbound);
        async move { outbound.page().await.is_some() }
    });
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    outbound.written(Written::of(&mut [queue.recv().await.unwrap()]));
    assert!(next.await.unwrap());
}

#[tokio::test]
async fn i8_what_is_dropped_unread_is_given_back() {
    let (outbound, queue) = outbound();
    for number in 0..10 {
        outbound.answer(number, Err(&Error::Busy), None);
    }
    assert!(outbound.memory.usage().0 > 0);
    drop(queue);
    assert_eq!((outbound.memory.usage().0, outbound.waiting()), (0, None));
}

#[test]
fn own_sends_are_left_out_once_and_bounded() {
    let (outbound, _queue) = outbound();
    let session_id = SessionId(new_id());
    let keys: Vec<ClientId> = (0..300).map(|n| n.to_string().parse().unwrap()).collect();
    for key in &keys {
        outbound.remember_own(session_id, key);
    }
    assert_eq!(outbound.own_sends().len(), OWN_SENDS);
    assert!(outbound.take_own(session_id, &keys[299]));
    assert!(!outbound.take_own(session_id, &keys[299]));
}
