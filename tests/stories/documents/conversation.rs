//! Compares every frame of a conversation with `/asyncapi.json`.

use std::collections::BTreeSet;

use frontdesk_test_support::{Client, Desk, Framing, Http, Issuer, now, unique};
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use crate::two_nodes;

/// The document, and the names of the messages received so far.
struct Document {
    whole: Value,
    heard: BTreeSet<String>,
}

impl Document {
    async fn of(desk: &Desk) -> Self {
        let whole = Http::new(desk.nodes[0].address, None).get("/asyncapi.json").await.expect(200);
        Self { whole, heard: BTreeSet::new() }
    }

    fn validator(&self, message: &str) -> Validator {
        let known = &self.whole["components"]["messages"][message];
        assert!(known.is_object(), "not documented: {message}");
        let payload = format!("#/components/messages/{message}/payload");
        let schema =
            json!({ "allOf": [{ "$ref": payload }], "components": self.whole["components"] });
        let options = jsonschema::options().with_draft(Draft::Draft7).should_validate_formats(true);
        options.build(&schema).unwrap()
    }

    fn check(&mut self, message: String, payload: &Value) {
        let problems: Vec<_> =
            self.validator(&message).iter_errors(payload).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{message}: {problems:?} in {payload}");
        self.heard.insert(message);
    }
}

/// A connection that checks every frame, undecoded.
struct Ear {
    client: Client,
    framing: Framing,
    next_id: u64,
}

impl Ear {
    async fn open(desk: &Desk, framing: Framing, token: &str) -> Self {
        let client = Client::connect_by(framing, desk.nodes[0].address, token).await;
        Self { client, framing, next_id: 1_000 }
    }

    fn channel(&self) -> &'static str {
        match self.framing {
            Framing::Native => "native",
            Framing::SocketIo => "socketio",
        }
    }

    /// Sends a documented request, and checks the frames that arrive until its reply.
    async fn ask(&mut self, document: &mut Document, event: &str, data: Value) -> Value {
        let key = event.replace(':', ".");
        self.next_id += 1;
        let id = self.next_id;
        let (said, frame) = match self.framing {
            Framing::Native => {
                let said = json!({ "id": id, "event": event, "data": data });
                (said.clone(), said.to_string())
            }
            Framing::SocketIo => {
                let said = json!([event, data]);
                (said.clone(), format!("42{id}{said}"))
            }
        };
        if document.whole["components"]["messages"][format!("{}.{key}", self.channel())].is_object()
        {
            document.check(format!("{}.{key}", self.channel()), &said);
        }
        self.client.frame(&frame).await;
        let answer = format!("{}.{key}.answer", self.channel());
        loop {
            if let Some((heard, payload)) = self.hear(document).await
                && heard == Some(id)
            {
                document.check(answer, &payload);
                return match self.framing {
                    Framing::Native => payload,
                    Framing::SocketIo => payload[0].clone(),
                };
            }
        }
    }

    /// The next frame: the id of its request, and its content. An event is checked here.
    async fn hear(&mut self, document: &mut Document) -> Option<(Option<u64>, Value)> {
        let text = self.client.text().await.expect("the connection ended");
        let told = |name: &Value| name.as_str().unwrap().replace(':', ".");
        match self.framing {
            Framing::Native => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if let Some(id) = frame["id"].as_u64() {
                    return Some((Some(id), frame));
                }
                document.check(format!("native.{}.told", told(&frame["event"])), &frame);
                Some((None, frame))
            }
            Framing::SocketIo => {
                if text == "2" {
                    self.client.frame("3").await;
                } else if let Some(event) = text.strip_prefix("42") {
                    let event: Value = serde_json::from_str(event).unwrap();
                    // The library of the client consumes it.
                    if event[0] != "session:offset" {
                        document.check(format!("socketio.{}.told", told(&event[0])), &event);
                    }
                } else if let Some(answer) = text.strip_prefix("43") {
                    let (id, answer) = answer.split_at(answer.find('[').unwrap());
                    return Some((id.parse().ok(), serde_json::from_str(answer).unwrap()));
                }
                None
            }
        }
    }

    async fn until(&mut self, document: &mut Document, message: &str) {
        let message = format!("{}.{message}.told", self.channel());
        while !document.heard.contains(&message) {
            self.hear(document).await;
        }
    }
}

#[tokio::test]
async fn all_that_is_said_in_a_conversation_is_as_documented() {
    for framing in [Framing::Native, Framing::SocketIo] {
        let desk = two_nodes().await;
        let mut document = Document::of(&desk).await;
        converse(&desk, framing, &mut document).await;
        let all = document.whole["components"]["messages"].as_object().unwrap().keys();
        let prefix = match framing {
            Framing::Native => "native.",
            Framing::SocketIo => "socketio.",
        };
        let unheard = all.filter(|key| key.starts_with(prefix) && !document.heard.contains(*key));
        assert_eq!(unheard.collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

async fn converse(desk: &Desk, framing: Framing, document: &mut Document) {
    let customer = desk.customer();
    // The token ends soon, so that `auth:expiring` is sent.
    let id = unique("dentist");
    let token = |seconds: u64| {
        let mut claims = Issuer::dentist_claims(&id);
        claims["exp"] = json!(now() + seconds);
        Issuer::sign_with_secret(&claims, frontdesk_test_support::DJANGO_SECRET.as_bytes())
    };
    let mut dentist = Ear::open(desk, framing, &token(30)).await;
    dentist.until(document, "auth.expiring").await;
    let refreshed = dentist.ask(document, "auth:refresh", json!({ "token": token(3_000) })).await;
    assert_eq!(refreshed["ok"], true, "{refreshed}");

    let with = json!({ "dentistId": id });
    let opened = desk.http(0, &customer).post("/api/chats", &with).await.expect(201);
    let session = opened["id"].as_str().unwrap();
    dentist.until(document, "session.new").await;
    // The session is put aside until its customer writes.
    let until = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let aside = json!({ "status": "snoozed", "snoozedUntil": until });
    let http = Http::new(desk.nodes[0].address, Some(&token(3_000)));
    http.patch(&format!("/api/chats/{session}"), &aside).await.expect(200);
    dentist.until(document, "session.updated").await;
    let mut patient = Ear::open(desk, framing, &customer.token).await;
    for ear in [&mut dentist, &mut patient] {
        let join = json!({ "sessionId": session, "after": 0, "rev": 0 });
        assert_eq!(ear.ask(document, "session:join", join).await["ok"], true);
    }
    let text =
        json!({ "sessionId": session, "clientId": "1", "kind": "text", "body": "It hurts." });
    let sent = patient.ask(document, "message:send", text.clone()).await;
    let message = &sent["data"]["message"]["id"];
    assert_eq!(patient.ask(document, "message:send", text).await["data"]["duplicate"], true);
    dentist.until(document, "message.new").await;
    let of = json!({ "sessionId": session, "messageId": message });
    let with = |name: &str, value: Value| {
        let mut data = of.clone();
        data[name] = value;
        data
    };
    dentist.ask(document, "message:react", with("emoji", json!("👍"))).await;
    patient.ask(document, "message:edit", with("body", json!("It hurts a lot."))).await;
    dentist.until(document, "message.updated").await;
    dentist.ask(document, "message:read", json!({ "sessionId": session, "seq": 1 })).await;
    patient.until(document, "message.read").await;
    patient.until(document, "message.delivered").await;
    let hello = json!({ "sessionId": session, "clientId": "2", "kind": "text", "body": "Come." });
    dentist.ask(document, "message:send", hello).await;
    patient.until(document, "presence").await;
    dentist.until(document, "session.updated").await;
    // A private message opens the notes.
    let note = json!({
        "sessionId": session, "clientId": "3", "kind": "text", "body": "No X-ray.", "visibility": "private",
    });
    assert_eq!(dentist.ask(document, "message:send", note).await["ok"], true);
    dentist.until(document, "notes.updated").await;
    for event in ["typing:start", "typing:stop"] {
        let said = json!({ "sessionId": session });
        assert_eq!(patient.ask(document, event, said).await["ok"], true);
    }
    dentist.until(document, "typing").await;
    assert_eq!(patient.ask(document, "message:delete", of.clone()).await["ok"], true);
    // A refusal is documented too.
    let refused = dentist.ask(document, "message:delete", of).await;
    assert_eq!(refused["error"]["code"], "forbidden", "{refused}");
    dentist.ask(document, "session:leave", json!({ "sessionId": session })).await;
    desk.nodes[0].terminate();
    patient.until(document, "server.draining").await;
}
