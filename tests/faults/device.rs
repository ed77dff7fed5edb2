//! A device as a careful app would have it: it knows how far it has read, comes back with that, sends
//! again what was not acknowledged, and writes down what it sees.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use frontdesk_test_support::{Client, Framing, Person};
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::history::{Fact, Recorder, Told};

/// How long a handshake may take before a device tries elsewhere.
const CONNECTING: Duration = Duration::from_secs(8);
/// How long an answer may take before a device takes its connection for dead: a send is decided in 8 s
/// and a try.
const ANSWER: Duration = Duration::from_secs(15);
/// How many sends a device has under way at most.
const WINDOW: usize = 4;

/// How many changed messages a join answers with.
const PAGE: usize = 100;
/// How often it edits instead of writing.
const EDITS: f64 = 0.1;
/// How many of its last messages a device edits.
const MINE: usize = 20;

/// What devices are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Write and read.
    Talk,
    /// Finish what is under way, and read.
    Settle,
    /// Go.
    End,
}

/// How far a device is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Sends without an answer.
    pub(crate) open: usize,
    /// It has seen everything up to here.
    pub(crate) position: u64,
}

/// A way to a node, and the people's tokens for it.
pub(crate) struct Device {
    pub(crate) number: usize,
    pub(crate) person: Person,
    pub(crate) session: String,
    /// Where the nodes are reached.
    pub(crate) nodes: Arc<Vec<SocketAddr>>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) progress: Arc<Mutex<Vec<Progress>>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) rng: StdRng,
    /// How long it pauses between two messages, on the average.
    pub(crate) pause: Duration,
    /// Where its reading stands.
    pub(crate) reading: Reading,
    pub(crate) sending: Sending,
}

/// What a device has of its session.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    position: u64,
    beyond: BTreeSet<u64>,
    /// The session's revision when it came in last: whatever is changed later it hears live, or when it
    /// comes back with this.
    rev: u64,
    /// The epoch in which the position counts, once a node has told one.
    epoch: Value,
}

impl Reading {
    fn has(&mut self, seq: u64) {
        self.beyond.insert(seq);
        while self.beyond.remove(&(self.position + 1)) {
            self.position += 1;
        }
        self.beyond.retain(|beyond| *beyond > self.position);
    }
}

/// What a device has sent and has no answer to: when to send it again.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    open: BTreeMap<u64, Instant>,
    written: u64,
    /// What it may edit: the ids of its last messages.
    mine: VecDeque<String>,
}

/// Why a connection is given up.
struct Gone;

/// What a request of this connection was for.
enum Asked {
    Join,
    Send(u64),
    Edit,
}

impl Device {
    /// Lives until it is told to end.
    pub(crate) async fn run(mut self) {
        while *self.phase.borrow() != Phase::End {
            let framing =
                if self.rng.random_bool(0.5) { Framing::Native } else { Framing::SocketIo };
            let node = self.nodes[self.rng.random_range(0..self.nodes.len())];
            let connecting = Client::try_connect_by(framing, node, &self.person.token);
            if let Ok(Some(mut client)) = timeout(CONNECTING, connecting).await {
                let Gone = self.live(&mut client).await;
                self.note(Fact::Gone);
            }
            // By chance, as everyone comes back at once.
            sleep(Duration::from_millis(self.rng.random_range(20..400))).await;
        }
    }

    fn note(&self, fact: Fact) {
        self.recorder.note(self.number, fact);
    }

    fn tell_progress(&self) {
        let now = Progress { open: self.sending.open.len(), position: self.reading.position };
        self.progress.lock().unwrap()[self.number] = now;
    }

    /// Until the connection is gone, or the device is told to end.
    async fn live(&mut self, client: &mut Client) -> Gone {
        let after = self.reading.position;
        let mut join =
            json!({ "sessionId": self.session, "after": after, "rev": self.reading.rev });
        if !self.reading.epoch.is_null() {
            join["epoch"] = self.reading.epoch.clone();
        }
        let Some(id) = client.try_ask("session:join", &join).await else { return Gone };
        let mut asked = HashMap::from([(id, (Asked::Join, Instant::now()))]);
        let mut joined = false;
        let mut next = self.next_message();
        // What was under way on the connection before is sent again on this one.
        self.sending.open.values_mut().for_each(|due| *due = Instant::now());
        loop {
            let phase = *self.phase.borrow_and_update();
            if phase == Phase::End {
                return Gone;
            }
            if joined && self.send_what_is_due(client, &mut asked).await.is_err() {
                return Gone;
            }
            let oldest = asked.values().map(|(_, at)| *at).min();
            if oldest.is_some_and(|oldest| oldest.elapsed() > ANSWER) {
                return Gone;
            }
            let again = self.sending.open.values().min().copied();
            let wake = again.map_or(next, |again| again.min(next));
            tokio::select! {
                frame = client.next() => {
                    let Some(frame) = frame else { return Gone };
                    let taken = self.take(&frame, &mut asked, after, &mut joined);
                    self.tell_progress();
                    if taken.is_err() {
                        return Gone;
                    }
                }
                changed = self.phase.changed() => if changed.is_err() { return Gone },
                () = sleep_until(wake.max(Instant::now() + Duration::from_millis(10))) => {
                    if next <= Instant::now() {
                        next = self.next_message();
                        if joined && phase == Phase::Talk && self.rng.random_bool(EDITS) {
                            let Some(()) = self.edit(client, &mut asked).await else { return Gone };
                        } else if joined && phase == Phase::Talk && self.sending.open.len() < WINDOW {
                            self.sending.written += 1;
                            self.sending.open.insert(self.sending.written, Instant::now());
                            self.tell_progress();
                        }
                    }
                }
            }
        }
    }

    fn next_message(&mut self) -> Instant {
        Instant::now() + self.pause.mul_f64(self.rng.random_range(0.2..1.8))
    }

    fn key(&self, number: u64) -> String {
        format!("{}-{number}", self.number)
    }

    async fn send_what_is_due(
        &mut self,
        client: &mut Client,
        asked: &mut HashMap<u64, (Asked, Instant)>,
    ) -> Result<(), Gone> {
        let now = Instant::now();
        let due: Vec<u64> =
            self.sending.open.iter().filter(|(_, due)| **due <= now).map(|(at, _)| *at).collect();
        for number in due {
            let key = self.key(number);
            let body = body(&self.session, &key);
            let text = json!({
                "sessionId": self.session, "clientId": key, "kind": "text", "body": body,
            });
            self.note(Fact::Tried { session: self.session.clone(), key });
            // Again when the connection is taken for dead, or the answer says so.
            self.sending.open.insert(number, now + ANSWER * 2);
            let id = client.try_ask("message:send", &text).await.ok_or(Gone)?;
            asked.insert(id, (Asked::Send(number), now));
        }
        Ok(())
    }

    /// Edits one of its last messages; nothing where the connection is gone.
    async fn edit(
        &mut self,
        client: &mut Client,
        asked: &mut HashMap<u64, (Asked, Instant)>,
    ) -> Option<()> {
        if self.sending.mine.is_empty() {
            return Some(());
        }
        let at = self.rng.random_range(0..self.sending.mine.len());
        let said = format!("{} thought better of it: {}", self.number, self.sending.written);
        let edit = json!({
            "sessionId": self.session, "messageId": self.sending.mine[at], "body": said,
        });
        let id = client.try_ask("message:edit", &edit).await?;
        asked.insert(id, (Asked::Edit, Instant::now()));
        Some(())
    }

    /// Takes what came; the connection is given up where it can't go on.
    fn take(
        &mut self,
        frame: &Value,
        asked: &mut HashMap<u64, (Asked, Instant)>,
        after: u64,
        joined: &mut bool,
    ) -> Result<(), Gone> {
        if frame["event"] == "message:new" {
            self.hear(&frame["data"]["message"]);
        } else if frame["event"] == "message:updated" {
            self.note(Fact::Updated(Told::read(&frame["data"]["message"])));
        }
        let Some((what, _)) = frame["id"].as_u64().and_then(|id| asked.remove(&id)) else {
            return Ok(());
        };
        let well = frame["ok"] == true;
        match what {
            Asked::Join if well && frame["data"]["resync"] == true => {
                // No fault here loses what is stored: it comes back in the new epoch for what it lacks.
                self.reading.epoch = frame["data"]["epoch"].clone();
                Err(Gone)
            }
            Asked::Join if well => {
                *joined = true;
                if frame["data"]["epoch"].is_string() {
                    self.reading.epoch = frame["data"]["epoch"].clone();
                }
                self.note(Fact::Joined { session: self.session.clone(), after });
                for message in frame["data"]["messages"].as_array().unwrap() {
                    self.hear(message);
                }
                let data = &frame["data"];
                let updated = data["updated"].as_array().map_or(&[][..], Vec::as_slice);
                for message in updated {
                    self.note(Fact::Updated(Told::read(message)));
                }
                self.reading.rev = data["session"]["rev"].as_u64().unwrap();
                if updated.len() < PAGE {
                    return Ok(());
                }
                // There may be more: it comes back for them.
                self.reading.rev = Told::read(&updated[PAGE - 1]).rev;
                Err(Gone)
            }
            Asked::Join => Err(Gone),
            Asked::Send(number) => {
                self.answered(number, frame);
                Ok(())
            }
            // One that failed may have been made all the same: then it is told.
            Asked::Edit if well => {
                self.note(Fact::Amended(Told::read(&frame["data"]["message"])));
                Ok(())
            }
            Asked::Edit => Ok(()),
        }
    }

    fn hear(&mut self, message: &Value) {
        let told = Told::read(message);
        let seq = told.seq;
        self.note(Fact::Heard(told));
        self.reading.has(seq);
    }

    fn answered(&mut self, number: u64, frame: &Value) {
        if frame["ok"] == true {
            let told = Told::read(&frame["data"]["message"]);
            let seq = told.seq;
            self.sending.mine.push_back(told.id.clone());
            if self.sending.mine.len() > MINE {
                self.sending.mine.pop_front();
            }
            self.note(Fact::Acknowledged(told));
            self.reading.has(seq);
            self.sending.open.remove(&number);
        } else if let Some(wait) = frame["error"]["retryAfterMs"].as_u64() {
            self.sending.open.insert(number, Instant::now() + Duration::from_millis(wait));
        } else {
            let code = frame["error"]["code"].to_string();
            self.note(Fact::Refused { key: self.key(number), code });
            self.sending.open.remove(&number);
        }
    }
}

/// What a message says: its own name, so that whoever is told of it elsewhere can be found out.
fn body(session: &str, key: &str) -> String {
    format!("{session} {key} naïve 😀 \u{202e}<b>&amp;</b>")
}
