//! Broken or late key sets: users with a known key notice nothing, and no valid token is rejected as
//! invalid.

use std::{collections::BTreeMap, time::Duration};

use frontdesk_test_support::{Desk, Framing, Http, Victim, eventually, try_connect, unique};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::one_node;

/// Sends tokens with random key ids for this time, and returns the number of responses by status.
async fn show_random_keys(desk: &Desk, lasts: Duration) -> BTreeMap<u16, usize> {
    let (began, mut statuses) = (Instant::now(), BTreeMap::new());
    let (address, claims) = (desk.nodes[0].address, desk.issuer.customer_claims("eve"));
    let http = Http::new(address, None);
    while began.elapsed() < lasts {
        let token = desk.issuer.sign_as(&claims, Some(unique("kid")));
        let reply = http.to(address, &token).get("/api/chats").await;
        if reply.status == 503 {
            assert_eq!(reply.body["code"], "issuer_unavailable");
            assert_eq!(reply.header("retry-after"), "10");
        }
        *statuses.entry(reply.status).or_default() += 1;
    }
    statuses
}

#[tokio::test]
async fn c15_a_key_set_with_a_broken_entry_lets_everyone_in_and_is_logged_once_without_its_content()
{
    let desk = one_node().await;
    desk.issuer.show_too(vec![
        json!({ "kty": "RSA", "kid": "key-1", "alg": "RS256", "n": "secret-content!", "e": "AQAB" }),
        json!("secret-content"),
    ]);
    let first = Victim::enter(&desk, 0).await;
    // Another key with the same id, and one that the node finds once its key set is ten seconds old.
    desk.issuer.rotate_beside("key-1");
    let second = desk.customer();
    desk.issuer.rotate_beside("key-2");
    let newcomer = desk.customer();
    eventually("the new key is found", async || {
        sleep(Duration::from_millis(300)).await;
        let reply = desk.http(0, &newcomer).get("/api/chats").await;
        assert!([200, 503].contains(&reply.status), "{}", reply.text);
        reply.status == 200
    })
    .await;
    for person in [&first.person, &second] {
        desk.http(0, person).get("/api/chats").await.expect(200);
    }
    let log = desk.nodes[0].log();
    let warnings: Vec<_> = log.iter().filter(|line| line.contains("unusable entries")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("[0, 1]"), "{warnings:?}");
    assert!(!log.iter().any(|line| line.contains("secret-content")));
}

#[tokio::test]
async fn c15_random_keys_and_a_key_set_that_is_late_cost_others_nothing_and_log_nobody_out() {
    let desk = one_node().await;
    let mut victim = Victim::enter(&desk, 0).await;
    let alone = victim.measure().await;
    // The issuer has a new key and stops responding.
    desk.issuer.rotate_beside("key-2");
    desk.issuer.be_late(true);
    let newcomer = desk.customer();
    let attack = async {
        let lasts = Duration::from_secs(13);
        let attackers = (0..4).map(|_| show_random_keys(&desk, lasts));
        let newcomer = async {
            let (reply, began) = (desk.http(0, &newcomer), Instant::now());
            while began.elapsed() < lasts {
                let reply = reply.get("/api/chats").await;
                assert_eq!(
                    (reply.status, &reply.body["code"]),
                    (503, &json!("issuer_unavailable"))
                );
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::join!(futures_util::future::join_all(attackers), newcomer).0
    };
    let (beside, statuses) = victim.measure_beside(attack).await;
    beside.are_as_if_alone(&alone);
    assert!(
        statuses.iter().all(|of_one| of_one.keys().all(|status| *status == 503)),
        "{statuses:?}"
    );
    // The first fetch, and two later ones: each takes up to 5 s, and begins 10 s after the one before.
    assert!((2..=4).contains(&desk.issuer.fetches()), "{} fetches", desk.issuer.fetches());
    // A socket may retry too: it gets a 503, or a close that is no refusal.
    let bearer = format!("Bearer {}", newcomer.token);
    let native = try_connect(desk.nodes[0].address, "/ws", &[("authorization", &bearer)]).await;
    assert!(native.unwrap_err().to_string().contains("503"));
    desk.issuer.be_late(false);
    eventually("the new key is found", async || {
        sleep(Duration::from_millis(300)).await;
        desk.http(0, &newcomer).get("/api/chats").await.status == 200
    })
    .await;
    drop(desk.connect_by(Framing::SocketIo, 0, &newcomer).await);
    // A key id that is missing in a fresh key set is invalid.
    let unknown = desk.issuer.sign_as(&desk.issuer.customer_claims("eve"), Some("none".to_owned()));
    let http = Http::new(desk.nodes[0].address, Some(&unknown));
    eventually("a fetch decides", async || {
        sleep(Duration::from_millis(300)).await;
        http.get("/api/chats").await.status == 401
    })
    .await;
}
