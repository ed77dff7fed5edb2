//! The common script, with the stock Rust client: `story '<json>'`, as in ../js/story.mjs.

use std::{
    collections::BTreeMap,
    io::stdin,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use rust_socketio::{ClientBuilder, Event, Payload, RawClient, TransportType, client::Client};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// First argument of an event or an acknowledgement, which may be wrapped in arrays.
fn first(payload: Payload) -> Value {
    let Payload::Text(values) = payload else { panic!("bytes") };
    let mut value = Value::Array(values);
    while let Value::Array(values) = value {
        value = values.into_iter().next().unwrap_or_default();
    }
    value
}

struct Person {
    client: Client,
    seen: Arc<Mutex<BTreeMap<u64, Value>>>,
    connected: Receiver<()>,
}

fn builder(url: &str, token: &str, transport: TransportType) -> ClientBuilder {
    ClientBuilder::new(url).auth(json!({ "token": token })).transport_type(transport)
}

fn note(seen: &Mutex<BTreeMap<u64, Value>>, message: &Value) {
    seen.lock().unwrap().insert(message["seq"].as_u64().unwrap(), message.clone());
}

impl Person {
    fn connect(url: &str, token: &str, transport: TransportType) -> Self {
        let seen: Arc<Mutex<BTreeMap<u64, Value>>> = Arc::default();
        let (tell, connected): (Sender<()>, _) = channel();
        let tell = Mutex::new(tell);
        let kept = Arc::clone(&seen);
        let client = builder(url, token, transport)
            .reconnect_on_disconnect(true)
            .reconnect_delay(50, 200)
            .on("message:new", move |payload: Payload, _: RawClient| {
                note(&kept, &first(payload)["message"]);
            })
            .on(Event::Connect, move |_: Payload, _: RawClient| {
                tell.lock().unwrap().send(()).unwrap_or_default();
            })
            .connect()
            .unwrap();
        let person = Self { client, seen, connected };
        person.connected.recv_timeout(PATIENCE).expect("never connected");
        person
    }

    fn call(&self, event: &str, data: Value) -> Option<Value> {
        let (answer, answered) = channel();
        let answer = Mutex::new(answer);
        let tell = move |payload: Payload, _: RawClient| {
            drop(answer.lock().unwrap().send(first(payload)));
        };
        self.client.emit_with_ack(event, data, Duration::from_secs(5), tell).ok()?;
        answered.recv_timeout(Duration::from_secs(5)).ok()
    }

    /// Joins with the last `seq` it has; repeats the join until it has a reply.
    fn join(&self, session: &str) {
        let deadline = Instant::now() + PATIENCE * 2;
        loop {
            let after = self.seen.lock().unwrap().keys().next_back().copied().unwrap_or(0);
            if let Some(joined) =
                self.call("session:join", json!({ "sessionId": session, "after": after }))
            {
                assert_eq!(joined["ok"], true, "{joined}");
                joined["messages"].as_array().unwrap().iter().for_each(|m| note(&self.seen, m));
                return;
            }
            assert!(Instant::now() < deadline, "the join is never answered");
        }
    }

    fn send(&self, session: &str, key: &str) -> Value {
        let text = json!({ "sessionId": session, "clientId": key, "kind": "text", "body": "é😀" });
        let sent = self.call("message:send", text).expect("no acknowledgement");
        assert_eq!(sent["ok"], true, "{sent}");
        note(&self.seen, &sent["message"]);
        sent["message"].clone()
    }

    fn has(&self, seqs: u64) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.lock().unwrap().keys().copied().eq(1..=seqs) {
            assert!(Instant::now() < deadline, "never: {seqs} messages");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn main() {
    let story: Value = serde_json::from_str(&std::env::args().nth(1).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (session, urls) = (text(&story["session"]), &story["urls"]);
    let transport = match story["transports"][0].as_str() {
        Some("polling") => TransportType::Polling,
        Some(_) => TransportType::Websocket,
        None => TransportType::Any,
    };

    let (refuse, refused) = channel();
    let refuse = Mutex::new(refuse);
    let stranger = builder(&text(&urls[0]), "a.b.c", transport.clone())
        .reconnect(false)
        .on(Event::Error, move |payload: Payload, _: RawClient| {
            drop(refuse.lock().unwrap().send(format!("{payload:?}")));
        })
        .connect();
    let reason = match stranger {
        // Other errors may be reported before this one.
        Ok(_) => loop {
            let reason = refused.recv_timeout(PATIENCE).expect("a bad token came in");
            if reason.contains("token_invalid") {
                break reason;
            }
        },
        Err(error) => error.to_string(),
    };
    assert!(reason.contains("token_invalid"), "{reason}");

    let ada = Person::connect(&text(&urls[0]), &text(&story["patient"]), transport.clone());
    let dana = Person::connect(&text(&urls[1]), &text(&story["dentist"]), transport);
    ada.join(&session);
    dana.join(&session);
    let sent = ada.send(&session, "first");
    dana.has(1);
    assert_eq!(dana.seen.lock().unwrap()[&1], sent);
    for number in 0..20 {
        ada.send(&session, &format!("a{number}"));
        dana.send(&session, &format!("d{number}"));
    }
    ada.has(41);
    dana.has(41);

    println!("restart");
    stdin().read_line(&mut String::new()).unwrap();
    for person in [&ada, &dana] {
        person.connected.recv_timeout(PATIENCE * 2).expect("never back");
        person.join(&session);
    }
    dana.send(&session, "late");
    ada.has(42);
    println!("done");
    std::process::exit(0);
}
