//! A user edits, reacts, reads and types as fast as possible, from twenty sockets.

use std::time::{Duration, Instant};

use frontdesk_test_support::{Client, Desk, Person, Victim};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::{FRONTDESK, one_node};

const SOCKETS: usize = 20;
const TICK: Duration = Duration::from_millis(100);
const ATTACK: Duration = Duration::from_secs(10);

/// Loads one socket of the attacker: nearly all of its 100 frames a second, and its share of the user's
/// 20 sends a second.
async fn insist(mut client: Client, session: &str, messages: &[Value], at: usize) -> usize {
    let (began, mut ticks, mut refused) = (Instant::now(), interval(TICK), 0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while began.elapsed() < ATTACK {
        ticks.tick().await;
        number += 1;
        let message = &messages[number % messages.len()];
        let mut asked = Vec::new();
        if number % 10 == at % 10 {
            let change = json!({
                "sessionId": session, "messageId": message["id"], "body": format!("{at}-{number}"),
                "emoji": "👍", "on": number % 20 < 10,
            });
            let event = if at.is_multiple_of(2) { "message:edit" } else { "message:react" };
            asked.push(client.ask(event, &change).await);
        }
        for _ in 0..4 {
            let read = json!({ "sessionId": session, "seq": number });
            asked.push(client.ask("message:read", &read).await);
            client.say("typing:start", &json!({ "sessionId": session })).await;
        }
        for id in asked {
            refused += usize::from(client.answer(id).await.is_err());
        }
    }
    refused
}

async fn a_victim_is_as_if_alone(desk: &Desk) {
    let (customer, dentist, session): (Person, Person, String) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut messages = Vec::new();
    for number in 0..100 {
        messages.push(patient.send(&session, &number.to_string(), "x").await);
    }
    desk.connect(0, &dentist).await.join(&session, None).await;
    let mut victim = Victim::enter(desk, 0).await;
    let alone = victim.measure().await;
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        let mut client = desk.connect(0, &customer).await;
        client.join(&session, None).await;
        sockets.push(client);
    }
    let insisting = sockets.into_iter().enumerate();
    let attack = join_all(insisting.map(|(at, client)| insist(client, &session, &messages, at)));
    let (beside, _) = victim.measure_beside(attack).await;
    beside.are_as_if_alone(&alone);
}

#[tokio::test]
async fn c11_changes_reads_and_typing_of_one_person_stop_nobody_else() {
    a_victim_is_as_if_alone(&Desk::cluster(FRONTDESK, 1).await).await;
}

#[tokio::test]
async fn c11_changes_reads_and_typing_of_one_person_stop_nobody_else_on_sqlite() {
    a_victim_is_as_if_alone(&one_node().await).await;
}
