//! Socket.IO packets of an attacker or a broken client, on both transports: its session ends or it gets
//! an error, and all others are unaffected.

use frontdesk_test_support::{Client, Desk, Framing, Http, Person, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{FRONTDESK, engineio::Poller};

const SECRET: &str = "not-for-anyone";

async fn desk() -> Desk {
    Desk::embedded_with(FRONTDESK, &[("LOG_LEVEL", "trace")]).await
}

/// Checks that each case ends its own session on both transports, and no other.
async fn ends_its_own_session(bad: &[&str]) {
    let desk = desk().await;
    let (customer, dentist, session) = desk.pair().await;
    let address = desk.nodes[0].address;
    let mut doctor = desk.connect(0, &dentist).await;
    doctor.join(&session, None).await;
    for packets in bad {
        let poller = Poller::enter(address, &customer.token).await;
        poller.post(packets).await;
        is_gone(&poller, packets).await;
        let mut socket = desk.connect_by(Framing::SocketIo, 0, &customer).await;
        for packet in packets.split('\x1e') {
            socket.frame(packet).await;
        }
        socket.closed().await;
    }
    let mut patient = desk.connect_by(Framing::SocketIo, 0, &customer).await;
    let sent = patient.send(&session, "k", SECRET).await;
    assert_eq!(doctor.message().await, sent, "others are not affected");
    drop((patient, doctor));
    desk.is_unharmed(&[&customer, &dentist], &[SECRET]).await;
}

async fn is_gone(poller: &Poller, why: &str) {
    eventually(why, async || poller.http.get(&poller.path()).await.body["code"] == 1).await;
}

/// Reply to a packet on each transport.
async fn answers(desk: &Desk, customer: &Person, packet: &str) -> [Value; 2] {
    let poller = Poller::enter(desk.nodes[0].address, &customer.token).await;
    poller.say(packet).await;
    let heard = poller.hear().await;
    let mut heard: Value = serde_json::from_str(&heard[heard.find('[').unwrap()..]).unwrap();
    let mut socket: Client = desk.connect_by(Framing::SocketIo, 0, customer).await;
    socket.frame(packet).await;
    let mut answered = socket.any_answer().await;
    answered.as_object_mut().unwrap().remove("id");
    [heard[0].take(), answered]
}

#[tokio::test]
async fn b31_an_event_whose_name_is_no_text_ends_its_session() {
    let bad =
        [r#"42[{"toString":"x"}]"#, "42[1]", "42[null]", r#"42[["x"]]"#, "42[]", "42{}", "42"];
    ends_its_own_session(&bad).await;
}

#[tokio::test]
async fn b32_a_claim_of_attachments_that_do_not_come_ends_its_session() {
    let bad = [
        r#"4599999-["x"]"#,
        r#"4599999999999999999999-["x"]"#,
        r#"45-1-["x"]"#,
        r#"45["x"]"#,
        "451-[\"x\",{\"_placeholder\":true,\"num\":0}]\x1e42[\"x\"]",
        // A binary attachment that was not announced.
        "bAQID",
    ];
    ends_its_own_session(&bad).await;
}

#[tokio::test]
async fn b33_an_unknown_namespace_is_refused_and_the_connection_goes_on() {
    let desk = desk().await;
    let customer = desk.customer();
    let poller = Poller::enter(desk.nodes[0].address, &customer.token).await;
    for namespace in ["/admin", "/__proto__", "/../", "/%00"] {
        poller.say(&format!("40{namespace},{}", json!({ "token": customer.token }))).await;
        let refused = format!(r#"44{namespace},{{"message":"Invalid namespace"}}"#);
        assert_eq!(poller.hear().await, refused);
    }
    poller.say(r#"421["no:such"]"#).await;
    assert!(poller.hear().await.starts_with("431[{\"ok\":false"));
    // The client is not in this namespace, so its packets there are invalid.
    ends_its_own_session(&[r#"42/admin,["message:send",{}]"#, "41/admin,", "40admin"]).await;
    desk.is_unharmed(&[&customer], &[]).await;
}

#[tokio::test]
async fn b34_an_event_before_connect_and_a_second_connect_end_their_session() {
    let desk = desk().await;
    let (customer, ..) = desk.pair().await;
    let address = desk.nodes[0].address;
    for early in [r#"42["session:join",{}]"#, r#"420["message:send",{}]"#, "41", "43[]"] {
        let poller = Poller::open(address).await;
        poller.post(early).await;
        is_gone(&poller, early).await;
    }
    desk.is_unharmed(&[&customer], &[]).await;
    ends_its_own_session(&[r#"40{"token":"not-for-anyone"}"#, "40"]).await;
}

#[tokio::test]
async fn b35_the_librarys_own_events_end_their_session() {
    let own = [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
    ];
    let bad = own.map(|name| format!(r#"42["{name}",{{"reason":"not-for-anyone"}}]"#));
    ends_its_own_session(&bad.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn b36_a_huge_id_of_an_acknowledgement_is_echoed_or_ends_its_session() {
    let desk = desk().await;
    let customer = desk.customer();
    let poller = Poller::enter(desk.nodes[0].address, &customer.token).await;
    for id in ["9007199254740993", "18446744073709551615"] {
        poller.say(&format!(r#"42{id}["no:such"]"#)).await;
        assert!(
            poller.hear().await.starts_with(&format!("43{id}[")),
            "the id is echoed to the last digit"
        );
    }
    let endless = format!(r#"42{}["x"]"#, "9".repeat(10_000));
    ends_its_own_session(&[r#"4218446744073709551616["x"]"#, r#"42-1["x"]"#, &endless]).await;
    desk.is_unharmed(&[&customer], &[]).await;
}

#[tokio::test]
async fn b37_json_that_is_deep_odd_or_doubled_is_refused() {
    ends_its_own_session(&[
        r#"42["x",NaN]"#,
        r#"42["x",Infinity]"#,
        r#"42["x",{a:1}]"#,
        r#"42["x""#,
        r#"40{"token":"a","token":"b"}"#,
    ])
    .await;
    let desk = desk().await;
    let (customer, _, session) = desk.pair().await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for (event, data, code) in [
        ("message:send", deep.clone(), "invalid_request"),
        ("message:send", format!(r#"{{"sessionId":{deep}}}"#), "invalid_request"),
        (
            "session:join",
            format!(r#"{{"sessionId":"{session}","sessionId":"x"}}"#),
            "invalid_request",
        ),
        ("__proto__", "{}".into(), "unknown_event"),
        ("constructor", "{}".into(), "unknown_event"),
    ] {
        for answer in answers(&desk, &customer, &format!(r#"427["{event}",{data}]"#)).await {
            assert_eq!(answer["error"]["code"], code, "{event}");
        }
        let mut native = desk.connect(0, &customer).await;
        native.frame(&format!(r#"{{"id":1,"event":"{event}","data":{data}}}"#)).await;
        assert_eq!(native.any_answer().await["error"]["code"], code, "{event}");
    }
    // Unknown fields are ignored, whatever their name and depth.
    let odd = format!(
        r#"427["session:join",{{"__proto__":{{"sessionId":"x"}},"constructor":{deep},"sessionId":"{session}"}}]"#
    );
    for answer in answers(&desk, &customer, &odd).await {
        assert_eq!(answer["ok"], true, "{answer}");
        assert_eq!(answer["data"]["session"]["id"], *session);
    }
    desk.is_unharmed(&[&customer], &[]).await;
}

#[tokio::test]
async fn b38_a_second_poll_at_once_an_oversized_one_and_anothers_token_are_refused() {
    let desk = desk().await;
    let (customer, thief, _) = desk.pair().await;
    let address = desk.nodes[0].address;
    let greedy = Poller::enter(address, &customer.token).await;
    let path = greedy.path();
    let (first, second) = tokio::join!(greedy.http.get(&path), async {
        tokio::task::yield_now().await;
        greedy.http.get(&path).await
    });
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400], "one poll is refused, and the session ends");
    is_gone(&greedy, "the session is gone").await;

    // A body may contain many packets, each of which has its limit. A body that is too large ends the
    // session, because some clients would send nothing more and continue to poll.
    let many = Poller::enter(address, &customer.token).await;
    let unknown = format!(r#"42["no:such","{}"]"#, "x".repeat(60_000));
    many.say(&vec![unknown.as_str(); 16].join("\x1e")).await;
    many.say(r#"420["no:such"]"#).await;
    assert!(many.hear().await.starts_with("430["), "the session still works");
    for large in [format!("42{}", "x".repeat(65_535)), vec![unknown.as_str(); 17].join("\x1e")] {
        let big = Poller::enter(address, &customer.token).await;
        assert_eq!(big.post(&large).await.status, 413);
        is_gone(&big, "the session ends, so that the client reconnects").await;
    }
    let big = Poller::enter(address, &customer.token).await;
    let packed = [("content-type", "text/plain;charset=UTF-8"), ("content-encoding", "gzip")];
    let bomb = "\u{1f}\u{8b}\u{8}\0".to_owned();
    big.http.send(Method::POST, &big.path(), Some(bomb), &packed).await;
    is_gone(&big, "a compressed body is an invalid packet").await;

    let mine = Poller::enter(address, &customer.token).await;
    let other = Http::new(address, Some(&thief.token));
    assert_eq!(other.get(&mine.path()).await.status, 403);
    let text = [("content-type", "text/plain;charset=UTF-8")];
    let said = other.send(Method::POST, &mine.path(), Some("41".into()), &text).await;
    assert_eq!(said.status, 403);
    let own = Http::new(address, Some(&customer.token));
    mine.say(r#"420["no:such"]"#).await;
    assert!(own.get(&mine.path()).await.text.starts_with("430["), "the session still works");
    desk.is_unharmed(&[&customer, &thief], &[]).await;
}
