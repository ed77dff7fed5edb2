//! F25: a node's clock jumps by an hour. Order is that of `seq`, and durations do not depend on the
//! clock.

use frontdesk_test_support::{Client, Clock, Desk, OneSignal, Person, Servers, eventually, now};
use serde_json::{Value, json};

use crate::{FRONTDESK, seqs};

const HOUR: i64 = 3_600;

/// Sockets check the clock at least at this interval.
const PINGS: [(&str, &str); 2] = [("PING_INTERVAL_MS", "500"), ("PING_TIMEOUT_MS", "30000")];

/// A customer whose token ends in this number of seconds.
fn customer(desk: &Desk, ends_in: u64) -> Person {
    let mut customer = desk.customer();
    let mut claims = desk.issuer.customer_claims(&customer.id);
    claims["exp"] = (now() + ends_in).into();
    customer.token = desk.issuer.sign(&claims);
    customer
}

/// A dentist whose token is valid for ten hours.
fn dentist(desk: &Desk) -> Person {
    let mut dentist = desk.dentist();
    let mut claims = frontdesk_test_support::Issuer::dentist_claims(&dentist.id);
    claims["exp"] = (now() + 10 * 3_600).into();
    let secret = frontdesk_test_support::DJANGO_SECRET.as_bytes();
    dentist.token = frontdesk_test_support::Issuer::sign_with_secret(&claims, secret);
    dentist
}

/// Both send five messages in turn, and receive those of the other in order.
async fn talk(session: &str, from: u64, patient: &mut Client, doctor: &mut Client) {
    for seq in (from..from + 10).step_by(2) {
        let asked = patient.send(session, &seq.to_string(), "x").await;
        assert_eq!(asked["seq"], seq);
        assert_eq!(doctor.message().await, asked);
        let answered = doctor.send(session, &seq.to_string(), "y").await;
        assert_eq!(patient.message().await, answered);
        // The time is that of the database, whose clock has not jumped.
        let at: jiff::Timestamp = asked["createdAt"].as_str().unwrap().parse().unwrap();
        assert!(at.as_second().abs_diff(now().try_into().unwrap()) < 600, "{asked}");
    }
}

#[tokio::test]
async fn f25_a_node_whose_clock_jumps_loses_and_repeats_nothing() {
    let (clock, service) = (Clock::new(), OneSignal::start().await);
    let env = [&service.variables()[..], &PINGS].concat();
    let redis_port = Servers::get().await.redis_port;
    let mut desk = Desk::cluster_with(FRONTDESK, 1, redis_port, &env).await;
    let jumping = desk.nodes[0].another(&clock.variables()).await;
    desk.nodes.push(jumping);
    let (patient, doctor, away) = (customer(&desk, 5 * 3_600), dentist(&desk), dentist(&desk));
    let (session, unheard) =
        (desk.session(&patient, &doctor).await, desk.session(&patient, &away).await);
    let short = customer(&desk, 1_200);
    let mut short_lived = desk.connect(1, &short).await;
    let mut patients = desk.connect(1, &patient).await;
    let mut doctors = desk.connect(0, &doctor).await;
    for client in [&mut patients, &mut doctors] {
        client.join(&session, None).await;
    }
    let fetches = desk.issuer.fetches();

    for (turn, off) in [(0, 0), (1, HOUR), (2, 0), (3, -HOUR), (4, HOUR), (5, 0)] {
        clock.be_off_by(off);
        talk(&session, 1 + turn * 10, &mut patients, &mut doctors).await;
        if turn == 0 {
            // Each has written, so each receives the other's presence.
            for client in [&mut patients, &mut doctors] {
                client.event("presence").await;
            }
        }
        // An absent person gets exactly one push.
        patients.send(&unheard, &turn.to_string(), "z").await;
        let expected = usize::try_from(turn).unwrap() + 1;
        eventually("a push", async || service.made_to(&away.id).len() >= expected).await;
        assert_eq!(service.made_to(&away.id).len(), expected);
        if off == HOUR && turn == 1 {
            // By the node's clock the token has ended, and its leeway too.
            assert_eq!(short_lived.closed().await, 4401);
        }
        // A cursor is a position in a list, not a time.
        let http = desk.http(1, &patient);
        let first = http.get("/api/chats?limit=1").await.expect(200);
        let next = first["nextCursor"].as_str().unwrap();
        let second = http.get(&format!("/api/chats?limit=1&cursor={next}")).await.expect(200);
        assert_eq!(
            (&first["items"][0]["id"], &second["items"][0]["id"]),
            (&json!(unheard), &json!(session))
        );
        // The key set does not become stale.
        assert_eq!(desk.issuer.fetches(), fetches);
    }
    let path = format!("/api/chats/{session}/messages?limit=200");
    let history = desk.http(0, &doctor).get(&path).await.expect(200);
    assert_eq!(seqs(&history["items"]), (1..=60).collect::<Vec<_>>());
    for client in [&mut patients, &mut doctors] {
        assert!(
            client.events_so_far().await.is_empty(),
            "each message arrives once, and no connection is closed"
        );
        let presence = client.events_of("presence");
        assert!(presence.is_empty(), "nobody went offline: {presence:?}");
    }
}

#[tokio::test]
async fn f25_a_push_does_not_wait_for_an_embedded_clock_to_catch_up() {
    let (clock, service) = (Clock::new(), OneSignal::start().await);
    let faked = clock.variables();
    let faked: Vec<_> = faked.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let env = [&service.variables()[..3], &faked, &[("PUSH_DELAY_MS", "4000")]].concat();
    let desk = Desk::embedded_with(FRONTDESK, &env).await;
    let (patient, away) = (customer(&desk, 5 * 3_600), dentist(&desk));
    let session = desk.session(&patient, &away).await;
    let mut patients = desk.connect(0, &patient).await;
    let first: Value = patients.send(&session, "1", "x").await;
    clock.be_off_by(-HOUR);
    assert!(service.made_to(&away.id).is_empty(), "the push came before it was due");
    eventually("the push", async || service.made_to(&away.id).len() == 1).await;
    // The order is that of `seq`, whatever the times are.
    let second = patients.send(&session, "2", "y").await;
    assert!(second["createdAt"].as_str() < first["createdAt"].as_str());
    let history = desk.http(0, &away).get(&format!("/api/chats/{session}/messages")).await;
    assert_eq!(seqs(&history.expect(200)["items"]), [1, 2]);
    eventually("a push for it", async || service.made_to(&away.id).len() == 2).await;
}
