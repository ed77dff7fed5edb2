//! A victim: a user who works while somebody else attacks, and the duration of each act.
//!
//! An attacker must not slow anybody else down. So a test measures the victim first alone, then beside
//! the attack.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use tokio::{sync::watch, time::Instant};

use crate::{Client, Desk, Http, Person};

/// Limit for an act beside an attack: its p95 is at most twice the p95 alone.
const FACTOR: u32 = 2;
/// Times below this pass in any case, because test clients, databases and attackers share the cores
/// with the node. The faults that these tests look for take seconds.
const QUICK: Duration = Duration::from_millis(400);
/// Minimum of measured rounds, enough for a p95.
const ROUNDS: usize = 30;

/// A user with a session, a connection that sends, and an HTTP client.
#[derive(Debug)]
pub struct Victim {
    /// The user who acts.
    pub person: Person,
    /// The other side of the session.
    pub other: Person,
    /// The session between the two.
    pub session: String,
    client: Client,
    http: Http,
    address: std::net::SocketAddr,
    rounds: u64,
}

/// Duration of each act, and the refusals.
#[derive(Debug, Default)]
pub struct Times {
    acts: BTreeMap<&'static str, Vec<Duration>>,
    refused: Vec<String>,
}

impl Victim {
    /// A new pair of people on this node, whose session has five messages.
    pub async fn enter(desk: &Desk, node: usize) -> Self {
        let (person, other, session) = desk.pair().await;
        let mut client = desk.connect(node, &person).await;
        client.join(&session, None).await;
        for number in 0..5 {
            client.send(&session, &format!("before-{number}"), "the tooth aches").await;
        }
        let (http, address) = (desk.http(node, &person), desk.nodes[node].address);
        Self { person, other, session, client, http, address, rounds: 0 }
    }

    /// Sends, joins, searches and reads the history in rounds, one act after the other.
    pub async fn measure(&mut self) -> Times {
        let mut times = Times::default();
        for _ in 0..ROUNDS {
            self.round(&mut times).await;
        }
        times
    }

    /// Measures until the attack has ended, and for [`ROUNDS`] rounds at least. Returns the result of
    /// the attack too.
    pub async fn measure_beside<T>(&mut self, attack: impl Future<Output = T>) -> (Times, T) {
        let (ended, is_over) = watch::channel(false);
        let attacking = async {
            let outcome = attack.await;
            ended.send_replace(true);
            outcome
        };
        let measuring = async {
            let mut times = Times::default();
            let mut rounds = 0;
            while rounds < ROUNDS || !*is_over.borrow() {
                self.round(&mut times).await;
                rounds += 1;
            }
            times
        };
        tokio::join!(measuring, attacking)
    }

    async fn round(&mut self, times: &mut Times) {
        self.rounds += 1;
        let text = json!({
            "sessionId": self.session, "clientId": format!("victim-{}", self.rounds),
            "kind": "text", "body": "the tooth still aches",
        });
        let began = Instant::now();
        let sent = self.client.request("message:send", text).await;
        times.took("send", began, sent.map(drop).map_err(|error| error.to_string()));

        let mut device = Client::connect(self.address, &self.person.token).await;
        let join = json!({ "sessionId": self.session });
        let began = Instant::now();
        let joined = device.request("session:join", join).await;
        times.took("join", began, joined.map(drop).map_err(|error| error.to_string()));

        let history = format!("/api/chats/{}/messages?limit=50", self.session);
        for (act, path) in [("search", "/api/chats/search?q=tooth"), ("history", &history)] {
            let began = Instant::now();
            let reply = self.http.get(path).await;
            let answered = if reply.status == 200 { Ok(()) } else { Err(reply.body.to_string()) };
            times.took(act, began, answered);
        }
    }
}

impl Times {
    fn took(&mut self, act: &'static str, began: Instant, answered: Result<(), String>) {
        self.acts.entry(act).or_default().push(began.elapsed());
        if let Err(refused) = answered {
            self.refused.push(format!("{act}: {refused}"));
        }
    }

    /// The 95th percentile of the durations of an act.
    fn p95(&self, act: &str) -> Duration {
        let mut times = self.acts[act].clone();
        times.sort_unstable();
        times[times.len() * 95 / 100]
    }

    /// Fails if the victim was refused something or was much slower than alone.
    pub fn are_as_if_alone(&self, alone: &Self) {
        assert!(alone.refused.is_empty(), "refused alone: {:?}", alone.refused);
        assert!(self.refused.is_empty(), "refused beside the attack: {:?}", self.refused);
        for act in self.acts.keys() {
            let (beside, alone) = (self.p95(act), alone.p95(act));
            eprintln!("{act}: p95 alone {alone:?}, beside the attack {beside:?}");
            let bound = (alone * FACTOR).max(QUICK);
            assert!(beside <= bound, "{act}: p95 alone {alone:?}, beside the attack {beside:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: u64) -> Times {
        let acts = BTreeMap::from([("send", vec![Duration::from_millis(millis); ROUNDS])]);
        Times { acts, refused: Vec::new() }
    }

    #[test]
    fn quick_acts_pass_whatever_they_are_alone() {
        times(399).are_as_if_alone(&times(2));
        times(1_900).are_as_if_alone(&times(1_000));
    }

    #[test]
    #[should_panic(expected = "beside the attack 1.5s")]
    fn a_slow_act_is_noticed() {
        times(1_500).are_as_if_alone(&times(2));
    }

    #[test]
    #[should_panic(expected = "refused beside the attack")]
    fn a_refused_act_is_noticed() {
        let refused = Times { refused: vec!["send: busy".into()], ..times(2) };
        refused.are_as_if_alone(&times(2));
    }
}
