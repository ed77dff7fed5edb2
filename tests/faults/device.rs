//! A device that behaves as a careful app: it keeps its read position, rejoins with it, repeats
//! unacknowledged sends, and records what it receives.

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

/// Time limit of a handshake, after which the device tries again, on any node.
const CONNECTING: Duration = Duration::from_secs(8);
/// Time limit of a reply, after which the device drops the connection. A send is decided within 8 s and
/// one attempt.
const ANSWER: Duration = Duration::from_secs(15);
/// Maximum of unacknowledged sends.
const WINDOW: usize = 4;

/// Maximum of changed messages in the reply to a join.
const PAGE: usize = 100;
/// Probability of an edit instead of a send.
const EDITS: f64 = 0.1;
/// Number of its latest messages that a device may edit.
const MINE: usize = 20;

/// Phase of a round, which all devices follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Write and read.
    Talk,
    /// Finish open sends, and read.
    Settle,
    /// End.
    End,
}

/// Progress of a device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Number of sends without a reply.
    pub(crate) open: usize,
    /// The device has every message up to this `seq`.
    pub(crate) position: u64,
}

/// A device of a person, with the nodes it connects to.
pub(crate) struct Device {
    pub(crate) number: usize,
    pub(crate) person: Person,
    pub(crate) session: String,
    /// Addresses of the nodes.
    pub(crate) nodes: Arc<Vec<SocketAddr>>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) progress: Arc<Mutex<Vec<Progress>>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) rng: StdRng,
    /// Average pause between two messages.
    pub(crate) pause: Duration,
    /// Read state.
    pub(crate) reading: Reading,
    pub(crate) sending: Sending,
}

/// Messages that a device has of its session.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    position: u64,
    beyond: BTreeSet<u64>,
    /// Revision of the session at the last join. Later changes arrive live, or on the next join with
    /// this revision.
    rev: u64,
    /// Epoch of the position; null until a node has sent one.
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

/// Sends without a reply, and the time of their next attempt.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    open: BTreeMap<u64, Instant>,
    written: u64,
    /// Ids of its latest messages, which it may edit.
    mine: VecDeque<String>,
}

/// The connection is given up.
struct Gone;

/// Kind of a request of this connection.
enum Asked {
    Join,
    Send(u64),
    Edit,
}

impl Device {
    /// Runs until the phase is [`Phase::End`].
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
            // A random pause spreads the reconnections of all devices.
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

    /// Uses the connection until it ends or the phase is [`Phase::End`].
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
        // Open sends of the earlier connection are repeated on this one.
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
            // The next attempt comes after a reconnection or at the time that the reply gives; this is
            // a fallback.
            self.sending.open.insert(number, now + ANSWER * 2);
            let id = client.try_ask("message:send", &text).await.ok_or(Gone)?;
            asked.insert(id, (Asked::Send(number), now));
        }
        Ok(())
    }

    /// Edits one of its latest messages; `None` when the connection is gone.
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

    /// Handles a frame; an error means that the connection must be given up.
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
                // No fault here cuts history, so the device keeps its position and rejoins in the new
                // epoch.
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
                // There may be more changes, so the device rejoins for them.
                self.reading.rev = Told::read(&updated[PAGE - 1]).rev;
                Err(Gone)
            }
            Asked::Join => Err(Gone),
            Asked::Send(number) => {
                self.answered(number, frame);
                Ok(())
            }
            // A failed edit may have been made all the same; then an event reports it.
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

/// Body of a message. It contains the session and key, so that a message of another session can be
/// traced.
fn body(session: &str, key: &str) -> String {
    format!("{session} {key} naïve 😀 \u{202e}<b>&amp;</b>")
}
