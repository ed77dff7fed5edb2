//! Trouble with one session in the database does not affect the others.

use std::time::{Duration, Instant};

use frontdesk_test_support::{Desk, Http, Person, Victim, eventually};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::FRONTDESK;

/// Duration of the trouble.
const TROUBLE: Duration = Duration::from_secs(12);

fn text(session: &str, key: &str, body: &str) -> Value {
    json!({ "sessionId": session, "clientId": key, "kind": "text", "body": body })
}

/// Checks the results of sends, in their order: committed ones have rising numbers, and the others have
/// an error with a retry time. Returns the number of committed ones.
fn are_in_order_or_for_later(sent: &[Result<Value, Value>]) -> usize {
    let mut last = 0;
    for sent in sent {
        match sent {
            Ok(sent) => {
                let seq = sent["message"]["seq"].as_u64().unwrap();
                assert!(seq > last, "{seq} after {last}");
                last = seq;
            }
            Err(error) => {
                assert_eq!(error["code"], "unavailable");
                assert!(error["retryAfterMs"].as_u64().unwrap() > 0);
            }
        }
    }
    sent.iter().filter(|sent| sent.is_ok()).count()
}

/// Sends, edits and reads in a session for the whole duration.
async fn insist(
    desk: &Desk,
    person: &Person,
    session: &str,
    body: &str,
) -> Vec<Result<Value, Value>> {
    let mut sender = desk.connect(0, person).await;
    let mut other = desk.connect(0, person).await;
    let first = sender.join(session, None).await["messages"][0]["id"].clone();
    let (began, mut asked, mut number) = (Instant::now(), Vec::new(), 0);
    while began.elapsed() < TROUBLE {
        number += 1;
        asked.push(sender.ask("message:send", &text(session, &number.to_string(), body)).await);
        let edit = json!({ "sessionId": session, "messageId": first, "body": number.to_string() });
        other.ask("message:edit", &edit).await;
        other.ask("message:read", &json!({ "sessionId": session, "seq": 1 })).await;
        sleep(Duration::from_millis(400)).await;
    }
    let mut answers = Vec::new();
    for id in asked {
        answers.push(sender.answer(id).await);
    }
    answers
}

#[tokio::test]
async fn c6_a_session_that_another_transaction_has_locked_stops_nobody_else() {
    let desk = Desk::cluster(FRONTDESK, 1).await;
    let (customer, dentist, locked) = desk.pair().await;
    desk.connect(0, &dentist).await.send(&locked, "first", "x").await;
    let mut victim = Victim::enter(&desk, 0).await;
    let alone = victim.measure().await;
    let holder = desk.database.as_ref().unwrap().client().await;
    let hold = format!(
        "begin; select 1 from sessions where id = '{locked}' for update; \
         select 1 from members where session_id = '{locked}' for update"
    );
    holder.batch_execute(&hold).await.unwrap();
    let release = async {
        sleep(TROUBLE).await;
        holder.batch_execute("rollback").await.unwrap();
    };
    let attack = async { tokio::join!(insist(&desk, &customer, &locked, "y"), release).0 };
    let (beside, sent) = Box::pin(victim.measure_beside(attack)).await;
    beside.are_as_if_alone(&alone);
    let committed = are_in_order_or_for_later(&sent);
    assert!(committed > 5, "sends that wait when the lock is released are committed: {committed}");
    assert!(committed < sent.len(), "every send was committed, even those that waited for 8 s");
    let anyone = Http::new(desk.nodes[0].address, None);
    assert_eq!(anyone.get("/health/ready").await.status, 200, "the node is not ready");
}

#[tokio::test]
async fn c6_sends_that_the_database_is_slow_with_stop_nobody_elses() {
    let desk = Desk::cluster(FRONTDESK, 1).await;
    let (customer, dentist, session) = desk.pair().await;
    desk.connect(0, &dentist).await.send(&session, "first", "x").await;
    let mut victim = Victim::enter(&desk, 0).await;
    let alone = victim.measure().await;
    let slow = "create function slow() returns trigger language plpgsql as $$ begin \
                perform pg_sleep(20); return new; end $$; \
                create trigger slow before insert on messages for each row \
                when (new.body = 'slow') execute function slow()";
    let admin = desk.database.as_ref().unwrap().client().await;
    admin.batch_execute(slow).await.unwrap();
    let anyone = Http::new(desk.nodes[0].address, None);
    let attack = async {
        let insisting = insist(&desk, &customer, &session, "slow");
        let watching = async {
            let began = Instant::now();
            while began.elapsed() < TROUBLE {
                let ready = anyone.get("/health/ready").await.status;
                assert_eq!(ready, 200, "trouble with one session made the node unready");
                sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::join!(insisting, watching).0
    };
    let (beside, sent) = Box::pin(victim.measure_beside(attack)).await;
    beside.are_as_if_alone(&alone);
    assert_eq!(are_in_order_or_for_later(&sent), 0, "none of them can be committed");
    let said = |line: &String| line.contains("send not committed") && line.contains(&session);
    assert!(desk.nodes[0].log().iter().any(said), "the log names the session");
    admin.batch_execute("drop trigger slow on messages").await.unwrap();
    let mut patient = desk.connect(0, &customer).await;
    assert_eq!(
        patient.send(&session, "1", "slow").await["seq"],
        2,
        "it is committed once, as the next message"
    );
}

#[tokio::test]
async fn c16_readiness_sees_a_node_that_commits_nothing() {
    let desk = Desk::cluster(FRONTDESK, 1).await;
    let mut people = Vec::new();
    for _ in 0..3 {
        let (customer, _, session) = desk.pair().await;
        people.push((desk.connect(0, &customer).await, session));
    }
    let anyone = Http::new(desk.nodes[0].address, None);
    assert_eq!(anyone.get("/health").await.expect(200)["commits"], "ok");
    let holder = desk.database.as_ref().unwrap().client().await;
    holder.batch_execute("begin; lock table messages in exclusive mode").await.unwrap();
    let mut number = 0;
    eventually("it is not ready", async || {
        number += 1;
        for (client, session) in &mut people {
            client.ask("message:send", &text(session, &number.to_string(), "x")).await;
        }
        sleep(Duration::from_millis(300)).await;
        anyone.get("/health/ready").await.status == 503
    })
    .await;
    let health = anyone.get("/health").await.expect(503);
    assert_eq!((&health["commits"], &health["status"]), (&"stalled".into(), &"down".into()));
    assert_eq!(health["services"]["postgres"], "up", "PostgreSQL responds, but commits nothing");
    holder.batch_execute("rollback").await.unwrap();
    eventually("it is ready", async || anyone.get("/health/ready").await.status == 200).await;
    let (client, session) = &mut people[0];
    client.send(session, "last", "x").await;
}

#[tokio::test]
async fn c16_readiness_sees_a_full_disk_of_the_database() {
    let desk = Desk::cluster(FRONTDESK, 1).await;
    let (customer, _, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let full = "create function is_full() returns trigger language plpgsql as $$ begin \
                raise exception using errcode = 'disk_full'; end $$; \
                create trigger no_room before insert on messages execute function is_full()";
    let admin = desk.database.as_ref().unwrap().client().await;
    admin.batch_execute(full).await.unwrap();
    let error = patient.request("message:send", text(&session, "1", "x")).await.unwrap_err();
    assert_eq!(error["code"], "unavailable");
    let anyone = Http::new(desk.nodes[0].address, None);
    assert_eq!(anyone.get("/health").await.expect(503)["commits"], "disk_full");
    assert_eq!(anyone.get("/health/ready").await.status, 503);
    let stalled = anyone.get("/metrics").await.text;
    let stalled = stalled.lines().find_map(|line| {
        line.strip_prefix("frontdesk_writer_stalled_seconds ")?.parse::<f64>().ok()
    });
    assert!(stalled.unwrap() > 5.0, "{stalled:?}");
    admin.batch_execute("drop trigger no_room on messages").await.unwrap();
    patient.send(&session, "2", "x").await;
    assert_eq!(anyone.get("/health").await.expect(200)["commits"], "ok");
    assert_eq!(anyone.get("/health/ready").await.status, 200);
}
