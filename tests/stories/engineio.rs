//! Engine.IO as an attacker or a broken client uses it; the responses are those of the reference
//! server.

use std::net::SocketAddr;

use frontdesk_test_support::{
    AMBIENT, Desk, Http, Reply, eventually, try_connect, tungstenite::Message,
};
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{one_node, two_nodes};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

/// Whether a packet is internal to the library, or arrives at an undetermined time.
fn is_aside(packet: &str) -> bool {
    let mut names = AMBIENT.iter().chain(&["session:offset"]);
    names.any(|name| packet.starts_with(&format!("42[\"{name}\"")))
}

/// A client of the polling transport with one request at a time.
pub(crate) struct Poller {
    pub(crate) http: Http,
    sid: String,
}

impl Poller {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let http = Http::new(address, None);
        let opened = http.get(POLL).await;
        assert_eq!(opened.status, 200);
        let open: Value = serde_json::from_str(opened.text.strip_prefix('0').unwrap()).unwrap();
        assert_eq!(open["upgrades"], json!(["websocket"]));
        assert_eq!((&open["pingInterval"], &open["pingTimeout"]), (&json!(25_000), &json!(20_000)));
        assert_eq!(open["maxPayload"], 65_536);
        Self { http, sid: open["sid"].as_str().unwrap().to_owned() }
    }

    /// A poller that has connected to the namespace.
    pub(crate) async fn enter(address: SocketAddr, token: &str) -> Self {
        Self::enter_with(address, &json!({ "token": token })).await.0
    }

    /// Like [`Poller::enter`], with any payload; returns the `pid` too.
    pub(crate) async fn enter_with(address: SocketAddr, auth: &Value) -> (Self, Value) {
        let poller = Self::open(address).await;
        poller.say(&format!("40{auth}")).await;
        let heard = poller.hear().await;
        // The next packets may come in the same poll.
        let connected = heard.split('\x1e').next().and_then(|packet| packet.strip_prefix("40"));
        let mut connected: Value = serde_json::from_str(connected.unwrap()).unwrap();
        assert!(connected["sid"].is_string());
        (poller, connected["pid"].take())
    }

    /// Polls until this text arrives, and returns everything received.
    pub(crate) async fn until(&self, fits: &str) -> String {
        let mut heard = String::new();
        while !heard.contains(fits) {
            heard.push_str(&self.poll().await);
        }
        heard
    }

    pub(crate) fn path(&self) -> String {
        format!("{POLL}&sid={}", self.sid)
    }

    pub(crate) async fn post(&self, body: &str) -> Reply {
        let text = [("content-type", "text/plain;charset=UTF-8")];
        self.http.send(Method::POST, &self.path(), Some(body.to_owned()), &text).await
    }

    pub(crate) async fn say(&self, body: &str) {
        assert_eq!(self.post(body).await.text, "ok");
    }

    /// The packets of the next poll, without offsets, which are internal to the library, and without
    /// ambient events.
    pub(crate) async fn hear(&self) -> String {
        loop {
            let heard = self.poll().await;
            let rest: Vec<_> = heard.split('\x1e').filter(|packet| !is_aside(packet)).collect();
            if !rest.is_empty() {
                return rest.join("\x1e");
            }
        }
    }

    async fn poll(&self) -> String {
        let heard = self.http.get(&self.path()).await;
        assert_eq!(heard.status, 200, "{}", heard.text);
        heard.text
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_answered_as_the_reference_server_does() {
    let desk = one_node().await;
    let http = Http::new(desk.nodes[0].address, None);
    let poller = Poller::open(desk.nodes[0].address).await;
    let sid = &poller.sid;
    for (method, path, code, message) in [
        (Method::GET, "/socket.io/?EIO=4".into(), 0, "Transport unknown"),
        (Method::GET, "/socket.io/?EIO=4&transport=pigeon".into(), 0, "Transport unknown"),
        (Method::GET, format!("{POLL}&sid=nobody"), 1, "Session ID unknown"),
        (Method::GET, format!("{POLL}&sid=0123456789ab.x"), 1, "Session ID unknown"),
        (Method::POST, POLL.into(), 2, "Bad handshake method"),
        (Method::GET, "/socket.io/?EIO=4&transport=websocket".into(), 3, "Bad request"),
        (Method::DELETE, format!("{POLL}&sid={sid}"), 3, "Bad request"),
        (
            Method::GET,
            "/socket.io/?EIO=3&transport=polling".into(),
            5,
            "Unsupported protocol version",
        ),
        (Method::GET, "/socket.io/?transport=polling".into(), 5, "Unsupported protocol version"),
    ] {
        let refused = http.send(method, &path, None, &[]).await;
        assert_eq!(
            (refused.status, &refused.body),
            (400, &json!({ "code": code, "message": message }))
        );
    }
}

#[tokio::test]
async fn several_packets_come_in_one_poll_and_go_in_one_post() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let patient = Poller::enter(desk.nodes[0].address, &customer.token).await;
    let join = json!(["session:join", { "sessionId": session }]);
    let send = |key: &str| json!(["message:send", { "sessionId": session, "clientId": key, "kind": "text", "body": "x" }]);
    patient.say(&format!("420{join}\x1e421{}\x1e422{}", send("a"), send("b"))).await;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.extend(patient.hear().await.split('\x1e').map(|packet| packet[..3].to_owned()));
    }
    heard.sort();
    assert_eq!(heard, ["430", "431", "432"]);
    let mut doctor = desk.connect(0, &dentist).await;
    assert_eq!(
        doctor.join(&session, None).await["lastSeq"],
        2,
        "both framings use the same session"
    );
    doctor.send(&session, "c", "from the other framing").await;
    assert!(patient.hear().await.starts_with(r#"42["message:new",{"message":"#));
}

#[tokio::test]
async fn a_poll_brings_16_packets_at_most_and_the_rest_comes_with_the_next() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut doctor = desk.connect(0, &dentist).await;
    for number in 0..150 {
        doctor.send(&session, &number.to_string(), "x").await;
    }
    let patient = Poller::enter(desk.nodes[0].address, &customer.token).await;
    let join = json!(["session:join", { "sessionId": session, "after": 0 }]);
    // Each of these gets a reply, and the messages beyond the join's page follow.
    let asked: Vec<_> = (1..40).map(|id| format!("42{id}[\"no:such\"]")).collect();
    patient.say(&format!("420{join}\x1e{}", asked.join("\x1e"))).await;
    let (mut heard, mut all) = (0, String::new());
    while heard < 40 + 50 {
        let poll = patient.poll().await;
        let packets: Vec<_> = poll.split('\x1e').collect();
        assert!(packets.len() <= 16, "{} packets", packets.len());
        heard += packets
            .iter()
            .filter(|packet| packet.starts_with("43") || packet.starts_with(r#"42["message:new""#))
            .count();
        all.push_str(&poll);
    }
    assert!(all.contains(r#""seq":150,"#), "{all}");
}

#[tokio::test]
async fn a_token_of_the_wrong_type_is_refused_with_a_reason_and_an_empty_one_hides_none() {
    let desk = one_node().await;
    let customer = desk.customer();
    let address = desk.nodes[0].address;
    let poller = Poller::open(address).await;
    for odd in [json!(5), json!(true), json!([customer.token]), json!({ "token": customer.token })]
    {
        poller.say(&format!("40{}", json!({ "token": odd }))).await;
        let heard = poller.hear().await;
        let refused: Value = serde_json::from_str(heard.strip_prefix("44").unwrap()).unwrap();
        let data = json!({ "code": "invalid_request", "detail": "auth.token: expected a string" });
        assert_eq!(refused, json!({ "message": "invalid_request", "data": data }));
    }
    poller.say(&format!("40{}", json!({ "token": customer.token }))).await;
    assert!(poller.hear().await.starts_with("40{"), "a second attempt is allowed");

    for empty in [json!({ "token": "" }), json!({ "token": null }), json!({ "token": "Bearer " })] {
        for (path, header) in [
            (format!("/socket.io/?EIO=4&transport=websocket&token={}", customer.token), None),
            ("/socket.io/?EIO=4&transport=websocket".into(), Some(customer.token.as_str())),
        ] {
            let bearer = format!("Bearer {}", header.unwrap_or_default());
            let mut client =
                try_connect(address, &path, &[("authorization", &bearer)]).await.unwrap();
            client.frame(&format!("40{empty}")).await;
            assert!(client.text().await.unwrap().starts_with('0'));
            assert!(client.text().await.unwrap().starts_with("40{"), "{empty} by {path}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_the_namespace_or_does_not_enter_it_is_closed() {
    let pings = [("PING_INTERVAL_MS", "1500"), ("PING_TIMEOUT_MS", "20000")];
    let desk = Desk::embedded_with(crate::FRONTDESK, &pings).await;
    let customer = desk.customer();
    let address = desk.nodes[0].address;
    let path = "/socket.io/?EIO=4&transport=websocket";
    // Pings begin after the connect; a client that has not connected by the first one is closed.
    let mut late = try_connect(address, path, &[]).await.unwrap();
    assert!(late.text().await.unwrap().starts_with("0{"));
    assert_eq!(late.text().await, None, "it received a packet");
    assert_eq!(late.closed().await, 1000);
    let mut inside = try_connect(address, path, &[]).await.unwrap();
    inside.frame(&format!("40{}", json!({ "token": customer.token }))).await;
    assert!(inside.text().await.unwrap().starts_with("0{"));
    assert!(inside.text().await.unwrap().starts_with("40{"));
    assert_eq!(inside.text().await.as_deref(), Some("2"));
    // The connection has no other namespace.
    inside.frame("41").await;
    assert_eq!(inside.text().await, None);
    assert_eq!(inside.closed().await, 1000);
}

#[tokio::test]
async fn a_poll_that_waits_hears_what_is_said_on_another_node_through_a_node_that_is_neither() {
    let desk = Desk::cluster(crate::FRONTDESK, 3).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut poller = Poller::enter(desk.nodes[0].address, &customer.token).await;
    // From now on the requests go to a node that does not hold the session.
    poller.http = Http::new(desk.nodes[2].address, None);
    eventually("the nodes know each other", async || {
        poller.post(r#"42["no:such"]"#).await.text == "ok"
    })
    .await;
    let join = json!(["session:join", { "sessionId": session }]);
    poller.say(&format!("420{join}")).await;
    assert!(poller.hear().await.starts_with("430[{\"ok\":true"));
    let mut doctor = desk.connect(1, &dentist).await;
    let said = async {
        tokio::task::yield_now().await;
        doctor.send(&session, "k", "all the way round").await
    };
    let (heard, said) = tokio::join!(poller.hear(), said);
    let heard: Value = serde_json::from_str(heard.strip_prefix("42").unwrap()).unwrap();
    assert_eq!(heard, json!(["message:new", { "message": said }]));
}

#[tokio::test]
async fn f2_a_node_that_drains_goes_on_carrying_polls_until_it_ends_and_loses_no_packet() {
    let mut desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut poller = Poller::enter(desk.nodes[0].address, &customer.token).await;
    let join = json!(["session:join", { "sessionId": session }]);
    poller.say(&format!("420{join}")).await;
    assert!(poller.hear().await.starts_with("430["));
    let own = Http::new(desk.nodes[0].address, None);
    poller.http = Http::new(desk.nodes[1].address, None);
    eventually("the nodes know each other", async || poller.post("3").await.text == "ok").await;
    // A socket delays the node's end while the poll goes through it.
    let mut busy = desk.connect(1, &dentist).await;
    let mut doctor = desk.connect(0, &dentist).await;
    let waiting = poller.hear();
    let talking = async {
        desk.nodes[1].terminate();
        busy.event("server:draining").await;
        doctor.send(&session, "1", "through a node that drains").await;
    };
    let (heard, ()) = tokio::join!(waiting, talking);
    assert!(heard.contains("through a node that drains"), "{heard}");
    assert!(desk.nodes[1].exit().await.success());
    poller.http = own;
    doctor.send(&session, "2", "and after it has gone").await;
    assert!(poller.hear().await.contains("and after it has gone"));
}

#[tokio::test]
async fn f19_a_client_that_can_not_be_checked_is_to_come_back() {
    let desk = one_node().await;
    desk.issuer.go_away(true);
    let poller = Poller::open(desk.nodes[0].address).await;
    poller.say(&format!("40{}", json!({ "token": desk.customer().token }))).await;
    assert_eq!(poller.hear().await, "1", "the transport closes, because a refusal would be final");
}

#[tokio::test]
async fn what_is_said_last_is_there_for_one_more_poll() {
    let desk = one_node().await;
    let mut claims = desk.issuer.customer_claims("ada");
    claims["exp"] = (frontdesk_test_support::now() - 58).into();
    let token = desk.issuer.sign(&claims);
    let poller = Poller::enter(desk.nodes[0].address, &token).await;
    // The token ends in a moment, while nobody polls.
    let mut heard = String::new();
    eventually("the poller receives DISCONNECT", async || {
        heard.push_str(&poller.http.get(&poller.path()).await.text);
        heard.contains("41")
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_on_another_node_loses_no_packet() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut poller = Poller::enter(desk.nodes[0].address, &customer.token).await;
    let join = json!(["session:join", { "sessionId": session }]);
    poller.say(&format!("420{join}")).await;
    assert!(poller.hear().await.starts_with("430["));
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;

    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={}", poller.sid);
    poller.http = Http::new(desk.nodes[1].address, None);
    eventually("the nodes know each other", async || poller.post("3").await.text == "ok").await;
    let mut socket = try_connect(desk.nodes[1].address, &path, &[]).await.unwrap().socket;
    let mut next = async |say: Option<&str>| {
        if let Some(text) = say {
            socket.send(Message::text(text)).await.unwrap();
        }
        match socket.next().await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("{other:?}"),
        }
    };
    doctor.send(&session, "1", "before the probe").await;
    assert_eq!(next(Some("2probe")).await, "3probe");
    doctor.send(&session, "2", "after the probe").await;
    // The last poll returns at once, with the packets that wait or a NOOP.
    let last = poller.hear().await;
    let mut heard: Vec<String> = last.split('\x1e').map(str::to_owned).collect();
    doctor.send(&session, "3", "while it moves").await;
    let first = next(Some("5")).await;
    heard.push(first);
    doctor.send(&session, "4", "on the WebSocket").await;
    while heard.iter().filter(|packet| packet.starts_with(r#"42["message:new"#)).count() < 4 {
        heard.push(next(None).await);
    }
    let bodies: Vec<Value> = heard
        .iter()
        .filter(|packet| !is_aside(packet))
        .filter_map(|packet| packet.strip_prefix("42"))
        .map(|packet| serde_json::from_str::<Value>(packet).unwrap()[1]["message"]["seq"].take())
        .collect();
    assert_eq!(bodies, [1, 2, 3, 4]);
    assert_eq!(poller.post("3").await.status, 400, "the polling transport still accepts posts");
}

#[tokio::test]
async fn an_offset_brings_back_no_more_than_its_bearer_may_join() {
    let desk = two_nodes().await;
    let (customer, _, session) = desk.pair().await;
    let (stranger, _, own) = desk.pair().await;
    let [here, there] = [desk.nodes[0].address, desk.nodes[1].address];
    let (before, pid) = Poller::enter_with(here, &json!({ "token": customer.token })).await;
    before.say(&format!(r#"421["session:join",{{"sessionId":"{session}","after":0}}]"#)).await;
    let heard = before.until("session:offset").await;
    let offset = heard.split(r#"["session:offset",""#).nth(1).unwrap().split('"').next().unwrap();

    let with = |token: &str, offset: Value| json!({ "token": token, "pid": pid, "offset": offset });
    let (thief, other) = Poller::enter_with(there, &with(&stranger.token, json!(offset))).await;
    assert_ne!(other, pid, "it recovered another person's session");
    for none in [json!(""), json!("x"), json!(7), json!(null), json!("A".repeat(9_000))] {
        let (_, other) = Poller::enter_with(there, &with(&customer.token, none)).await;
        assert!(other.is_string() && other != pid);
    }
    let (again, same) = Poller::enter_with(there, &with(&customer.token, json!(offset))).await;
    assert_eq!(same, pid);

    let text =
        json!({ "sessionId": session, "clientId": "k", "kind": "text", "body": "between us" });
    before.say(&format!("422{}", json!(["message:send", text]))).await;
    again.until("between us").await;
    thief.say(&format!("421[\"session:join\",{{\"sessionId\":\"{own}\"}}]")).await;
    let heard = thief.until("\"lastSeq\"").await;
    assert!(!heard.contains("between us"), "{heard}");
}
