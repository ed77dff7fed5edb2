//! Joins and reconnections: no message is missed.

use std::collections::BTreeMap;

use frontdesk_test_support::{Client, Desk, Person};
use serde_json::json;

use crate::{one_node, seqs, two_nodes};

/// A client that records the numbers it receives, and requests the rest with `after`.
struct Reader {
    client: Client,
    seen: Vec<u64>,
}

impl Reader {
    async fn join(desk: &Desk, node: usize, person: &Person, session: &str, after: u64) -> Self {
        let mut client = desk.connect(node, person).await;
        let joined = client.join(session, Some(after)).await;
        Self { client, seen: seqs(&joined["messages"]) }
    }

    async fn read_up_to(&mut self, last: u64) {
        while self.seen.last().is_none_or(|seen| *seen < last) {
            self.seen.push(self.client.message().await["seq"].as_u64().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn between_history_and_live_nothing_is_missing_and_nothing_is_twice() {
    const MESSAGES: u64 = 400;
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    for number in 0..80 {
        patient.send(&session, &number.to_string(), "so far").await;
    }
    let sending = async {
        for number in 80..MESSAGES {
            patient.send(&session, &number.to_string(), "and on").await;
        }
    };
    // Readers join all the time, on both nodes, with different positions.
    let joining = async {
        let mut readers = Vec::new();
        for at in 0..12_u64 {
            let reader = Reader::join(&desk, (at % 2) as usize, &dentist, &session, at * 7).await;
            readers.push((at * 7, reader));
        }
        readers
    };
    let ((), readers) = tokio::join!(sending, joining);
    for (after, mut reader) in readers {
        reader.read_up_to(MESSAGES).await;
        assert_eq!(reader.seen, (after + 1..=MESSAGES).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn whoever_was_away_for_long_gets_everything_in_order() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    for number in 0..330 {
        patient.ask("message:send", &text(&session, number)).await;
    }
    patient.answer(330).await.unwrap();
    let mut reader = Reader::join(&desk, 0, &dentist, &session, 5).await;
    reader.read_up_to(330).await;
    assert_eq!(reader.seen, (6..=330).collect::<Vec<_>>());
    // A client without a position gets the latest page, and pages backwards.
    let mut doctor = desk.connect(0, &dentist).await;
    let joined = doctor.join(&session, None).await;
    assert_eq!(joined["lastSeq"], 330);
    assert_eq!(seqs(&joined["messages"]), (231..=330).collect::<Vec<_>>());
    // A position beyond the end belongs to another history, so the client must start anew.
    let anew = doctor.join(&session, Some(9_999)).await;
    assert_eq!((&anew["resync"], seqs(&anew["messages"])), (&json!(true), (231..=330).collect()));
    patient.send(&session, "last", "still heard").await;
    assert_eq!(doctor.message().await["seq"], 331);
}

fn text(session: &str, number: usize) -> serde_json::Value {
    json!({ "sessionId": session, "clientId": number.to_string(), "kind": "text", "body": "x" })
}

#[tokio::test]
async fn large_messages_come_in_pages_that_any_client_can_take() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let body = "😀".repeat(8_000);
    for number in 0..60 {
        patient.send(&session, &number.to_string(), &body).await;
    }
    // Each is 32 KB. A stock client accepts frames of 1 MiB.
    let mut doctor = desk.connect(0, &dentist).await;
    let latest = doctor.join(&session, None).await;
    assert!(latest.to_string().len() < 512 * 1024);
    assert_eq!(seqs(&latest["messages"]).last(), Some(&60));
    let mut reader = Reader::join(&desk, 0, &dentist, &session, 1).await;
    assert!(reader.seen.len() < 20);
    reader.read_up_to(60).await;
    assert_eq!(reader.seen, (2..=60).collect::<Vec<_>>());
    let http = desk.http(0, &dentist);
    for span in ["after=0", "before=61"] {
        let (mut seen, mut query) = (Vec::new(), span.to_owned());
        loop {
            let path = format!("/api/chats/{session}/messages?limit=200&{query}");
            let page = http.get(&path).await.expect(200);
            assert!(page.to_string().len() < 512 * 1024);
            seen.extend(seqs(&page["items"]));
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            query = format!("cursor={cursor}");
        }
        // Backwards, the latest page comes first.
        assert!(span.starts_with("before") || seen.is_sorted());
        seen.sort_unstable();
        assert_eq!(seen, (1..=60).collect::<Vec<_>>(), "{span}");
    }
}

#[tokio::test]
async fn requests_that_follow_a_join_without_waiting_find_it_done() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut doctor = desk.connect(1, &dentist).await;
    let inside = json!({ "sessionId": session });
    let from_start = json!({ "sessionId": session, "after": 0 });
    for round in 0..20_u64 {
        let mut patient = desk.connect(0, &customer).await;
        // A send together with a join is acknowledged, and does not arrive as an event too.
        let message = text(&session, usize::try_from(round).unwrap());
        let (joined, sent) = if round % 2 == 0 {
            let joined = patient.ask("session:join", &from_start).await;
            (joined, patient.ask("message:send", &message).await)
        } else {
            let sent = patient.ask("message:send", &message).await;
            (patient.ask("session:join", &from_start).await, sent)
        };
        assert_eq!(patient.answer(sent).await.unwrap()["message"]["seq"], 2 * round + 1);
        patient.answer(joined).await.unwrap();
        // Two joins at once count as one: the next message arrives once.
        let first = patient.ask("session:join", &from_start).await;
        let second = patient.ask("session:join", &from_start).await;
        let said = doctor.send(&session, &format!("d{round}"), "heard once").await;
        patient.answer(first).await.unwrap();
        let mut seen = seqs(&patient.answer(second).await.unwrap()["messages"]);
        while seen.last() != Some(&(2 * round + 2)) {
            seen.push(patient.message().await["seq"].as_u64().unwrap());
        }
        assert_eq!(seen, (1..=2 * round + 2).collect::<Vec<_>>());
        assert_eq!(said["seq"], 2 * round + 2);
        // A leave after an unfinished join takes effect.
        let joined = patient.ask("session:join", &inside).await;
        let left = patient.ask("session:leave", &inside).await;
        patient.answer(left).await.unwrap();
        patient.answer(joined).await.unwrap();
        patient
            .request("typing:start", inside.clone())
            .await
            .expect_err("it is not in the session");
    }
}

#[tokio::test]
async fn a_clients_sends_keep_their_order_without_waiting_for_answers() {
    let desk = one_node().await;
    let (customer, _, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut asked = Vec::new();
    for number in 0..200 {
        asked.push(patient.ask("message:send", &text(&session, number)).await);
    }
    for (number, id) in asked.into_iter().enumerate() {
        let sent = patient.answer(id).await.unwrap();
        assert_eq!(sent["message"]["seq"], number + 1);
    }
}

#[tokio::test]
async fn f29_i13_an_embedded_node_that_is_killed_has_all_that_it_acknowledged() {
    let mut desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut acknowledged = BTreeMap::new();
    for round in 0..3 {
        for number in 0..40 {
            patient.ask("message:send", &text(&session, round * 100 + number)).await;
        }
        // The node is killed with sends under way, right after an acknowledgement.
        for _ in 0..20 {
            let message = patient.any_answer().await["data"]["message"].clone();
            acknowledged.insert(message["seq"].as_u64().unwrap(), message);
        }
        desk.nodes[0].restart().await;
        patient = desk.connect(0, &customer).await;
        let mut reader = desk.connect(0, &dentist).await;
        let mut history = Vec::new();
        let mut path = format!("/api/chats/{session}/messages?after=0&limit=200");
        loop {
            let page = desk.http(0, &dentist).get(&path).await.expect(200);
            history.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            path = format!("/api/chats/{session}/messages?limit=200&cursor={cursor}");
        }
        assert_eq!(seqs(&json!(history)), (1..=history.len() as u64).collect::<Vec<_>>());
        for (seq, message) in &acknowledged {
            assert_eq!(history[usize::try_from(*seq).unwrap() - 1], *message);
        }
        let joined = reader.join(&session, None).await;
        assert_eq!(joined["lastSeq"], history.len());
    }
}
