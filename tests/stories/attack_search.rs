//! Texts and searches that keep the database busy, beside a victim on the same node.

use std::time::Duration;

use frontdesk_test_support::{Client, Desk, Http, Person, Victim, eventually, while_it_progresses};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{FRONTDESK, one_node};

/// Texts that take a search parser more than a second each if it looks for addresses, tags or paths.
const BAD_TEXTS: [&str; 4] = ["a@1", "a_", "~/", "<!--"];
/// Duration of an attack.
const ATTACK: Duration = Duration::from_secs(10);

async fn desks() -> [Desk; 2] {
    [Desk::cluster(FRONTDESK, 1).await, one_node().await]
}

fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}")).trim().parse().unwrap()
}

/// Checks that no database error was counted, so that no alert fires.
async fn no_alarm(http: &Http) {
    let metrics = http.get("/metrics").await.text;
    for kind in ["unavailable", "refused"] {
        let errors =
            metric(&metrics, &format!("frontdesk_database_errors_total{{kind=\"{kind}\"}}"));
        assert!(errors < 1.0, "{kind}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_texts_on_which_a_parser_is_superlinear_delay_nobody() {
    for desk in desks().await {
        let mut victim = Victim::enter(&desk, 0).await;
        let (attacker, _, session) = desk.pair().await;
        let mut client = desk.connect(0, &attacker).await;
        client.join(&session, None).await;
        let alone = victim.measure().await;
        let attack = async {
            let (mut ticks, ends) =
                (interval(Duration::from_secs(1) * 5 / 6), Instant::now() + ATTACK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut sent = 0;
            while Instant::now() < ends {
                ticks.tick().await;
                let bad = BAD_TEXTS[sent % BAD_TEXTS.len()];
                let body: String = bad.chars().cycle().take(7_990).collect();
                let text = format!("crown {body}");
                let message = client.send(&session, &sent.to_string(), &text).await;
                let edit = json!({
                    "sessionId": session, "messageId": message["id"], "body": format!("bridge {body}"),
                });
                client.request("message:edit", edit).await.unwrap();
                sent += 1;
            }
            sent
        };
        let (beside, sent) = victim.measure_beside(attack).await;
        assert!(sent >= 5, "{sent} texts in {ATTACK:?}");
        beside.are_as_if_alone(&alone);
        // The texts are found like any others, and the index is complete.
        let http = desk.http(0, &attacker);
        let found = http.get("/api/chats/search?q=bridge&limit=200").await.expect(200);
        assert_eq!(found["items"].as_array().unwrap().len(), sent);
        eventually("all texts are indexed", async || {
            let metrics = http.get("/metrics").await.text;
            metric(&metrics, "frontdesk_search_waiting_messages") < 1.0
        })
        .await;
        no_alarm(&http).await;
    }
}

/// Sends this number of long messages full of the words of the searches.
async fn fill(client: &mut Client, session: &str, messages: usize) {
    let words = "tooth the gum a crown or bridge 牙痛 030 5551234 ";
    let text: String = words.chars().cycle().take(7_900).collect();
    let mut asked = Vec::new();
    for number in 0..messages {
        let message = json!({
            "sessionId": session, "clientId": format!("long-{number}"), "kind": "text",
            "body": format!("{text} {number}"),
        });
        asked.push(client.ask("message:send", &message).await);
        if asked.len() == 16 {
            for id in asked.drain(..) {
                client.answer(id).await.unwrap();
            }
        }
    }
    for id in asked {
        client.answer(id).await.unwrap();
    }
}

/// Waits until every text is indexed, while there is progress.
async fn until_indexed(http: &Http) {
    let waiting = async || {
        let metrics = http.get("/metrics").await.text;
        metric(&metrics, "frontdesk_search_waiting_messages")
    };
    let indexed = async {
        while waiting().await > 0.0 {
            sleep(Duration::from_millis(500)).await;
        }
    };
    while_it_progresses("texts are indexed", indexed, async || waiting().await.to_bits()).await;
}

fn searches() -> Vec<String> {
    let words = ["tooth", "the", "gum", "a", "crown", "bridge"];
    let many = |joint: &str| words.iter().copied().cycle().take(24).collect::<Vec<_>>().join(joint);
    vec![
        "tooth".to_owned(),
        "\"tooth the gum a crown\"".to_owned(),
        format!("\"{}\"", many(" ")),
        many(" "),
        many(" or "),
        "tooth -nothing -\"bridge crown\" -\"a the\"".to_owned(),
        "\"a\" ".repeat(50).trim().to_owned(),
        "x - ".repeat(50),
        "牙 -痛".to_owned(),
        "牙痛".repeat(100),
        "牙 -牙x ".repeat(33).trim().to_owned(),
        "555 -5551 0305551234".to_owned(),
        "5551234030".repeat(20),
    ]
}

/// Searches repeatedly, on one connection for each search; returns the status codes.
async fn search_without_end(http: &Http) -> Vec<u16> {
    let ends = Instant::now() + ATTACK;
    let searching = searches().into_iter().map(async |query| {
        let mut statuses = Vec::new();
        while Instant::now() < ends {
            let reply =
                http.get(&format!("/api/chats/search?limit=200&q={}", encoded(&query))).await;
            statuses.push(reply.status);
            // Without the pause a refused client would send a thousand requests a second.
            sleep(Duration::from_millis(20)).await;
        }
        statuses
    });
    join_all(searching).await.concat()
}

fn encoded(query: &str) -> String {
    let bytes = query.bytes();
    bytes.fold(String::new(), |encoded, byte| format!("{encoded}%{byte:02x}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_searches_that_match_everything_delay_nobody() {
    for desk in desks().await {
        let (attacker, _, session) = desk.pair().await;
        let mut client = desk.connect(0, &attacker).await;
        client.patience = Duration::from_secs(60);
        // SQLite has a single writer to index them.
        let messages = if desk.database.is_some() { 2_000 } else { 500 };
        fill(&mut client, &session, messages).await;
        let http = desk.http(0, &attacker);
        until_indexed(&http).await;
        // The victim connects only now: it would miss its pings while it reads nothing.
        let mut victim = Victim::enter(&desk, 0).await;
        let alone = victim.measure().await;
        let (beside, statuses) = victim.measure_beside(search_without_end(&http)).await;
        beside.are_as_if_alone(&alone);
        let count = |status| statuses.iter().filter(|other| **other == status).count();
        eprintln!("{} answers: {} found, {} too costly", statuses.len(), count(200), count(422));
        assert!(
            statuses.iter().all(|status| [200, 422, 429, 503].contains(status)),
            "{statuses:?}"
        );
        assert!(count(200) > 0, "{statuses:?}");
        no_alarm(&http).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_queries_that_make_a_database_fail_are_answers() {
    for desk in desks().await {
        let mut victim = Victim::enter(&desk, 0).await;
        let (attacker, _, session) = desk.pair().await;
        desk.connect(0, &attacker).await.send(&session, "1", "x y <!-- - x").await;
        let http = desk.http(0, &attacker);
        let alone = victim.measure().await;
        let attack = async {
            for _ in 0..20 {
                for query in odd_queries() {
                    let reply = http.get(&format!("/api/chats/search?q={}", encoded(&query))).await;
                    let page = reply.expect(200);
                    assert!(
                        page["items"].is_array() && page["nextCursor"] == Value::Null,
                        "{query}"
                    );
                }
            }
        };
        let (beside, ()) = victim.measure_beside(attack).await;
        beside.are_as_if_alone(&alone);
        no_alarm(&http).await;
        let people: [&Person; 1] = [&attacker];
        desk.is_unharmed(&people, &[]).await;
    }
}

fn odd_queries() -> [String; 8] {
    [
        "- ".repeat(60),
        "x - ".repeat(50),
        "<!--".repeat(50),
        "!".repeat(200),
        "! x ".repeat(50),
        "(x ".repeat(60),
        "x:* & | ".repeat(25),
        "-\"x y\" ".repeat(28),
    ]
}
