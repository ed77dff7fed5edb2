//! A Redis Cluster as the bus: slots move and masters die, and no message is missed.

use std::{cell::Cell, time::Duration};

use frontdesk_test_support::{Client, Desk, Http, RedisCluster, eventually};
use serde_json::json;
use tokio::time::timeout;

use crate::FRONTDESK;

/// Time limit for a message that the bus lost.
const FOUND_WITHIN: Duration = Duration::from_secs(5);
/// Number of unacknowledged sends.
const BURST: u64 = 5;

/// Two nodes that use the cluster.
async fn two_nodes(cluster: &RedisCluster) -> Desk {
    let [host, nodes] = cluster.variables();
    let env = [(host.0, host.1.as_str()), (nodes.0, nodes.1.as_str())];
    Desk::cluster_with(FRONTDESK, 2, 0, &env).await
}

/// A conversation between two people on different nodes.
struct Talk {
    patient: Client,
    doctor: Client,
    session: String,
    last_seq: u64,
}

impl Talk {
    async fn on(desk: &Desk) -> Self {
        let (customer, dentist, session) = desk.pair().await;
        let mut patient = desk.connect(0, &customer).await;
        let mut doctor = desk.connect(1, &dentist).await;
        for client in [&mut patient, &mut doctor] {
            client.join(&session, None).await;
        }
        Self { patient, doctor, session, last_seq: 0 }
    }

    fn channel(&self) -> String {
        format!("frontdesk:session:{}", self.session)
    }

    /// Sends a few messages; each is acknowledged, and received once, in order and in time.
    async fn exchange(&mut self) {
        let mut asked = Vec::new();
        for number in 1..=BURST {
            let client_id = (self.last_seq + number).to_string();
            let text = json!({
                "sessionId": self.session, "clientId": client_id, "kind": "text", "body": "x",
            });
            asked.push(self.patient.ask("message:send", &text).await);
        }
        for id in asked {
            let answered = timeout(FOUND_WITHIN, self.patient.answer(id)).await;
            let sent = answered.expect("a send waits for Redis").unwrap()["message"].take();
            self.last_seq += 1;
            assert_eq!(sent["seq"], self.last_seq);
            let heard = timeout(FOUND_WITHIN, self.doctor.message()).await;
            assert_eq!(heard.expect("not within 5 s"), sent);
        }
    }

    /// Exchanges messages while something happens, and once more afterwards.
    async fn while_it_happens(&mut self, happening: impl Future<Output = ()>) {
        let is_done = Cell::new(false);
        let talking = async {
            while !is_done.get() {
                self.exchange().await;
            }
        };
        let happening = async {
            happening.await;
            is_done.set(true);
        };
        tokio::join!(talking, happening);
        self.exchange().await;
    }

    /// Checks that the bus works in both directions: typing is never stored, so the head check cannot
    /// deliver it.
    async fn typing_is_heard(&mut self) {
        typing_is_heard(&mut self.patient, &mut self.doctor, &self.session).await;
        typing_is_heard(&mut self.doctor, &mut self.patient, &self.session).await;
    }
}

/// Waits until typing arrives. It is never stored, so only the bus can deliver it.
pub(crate) async fn typing_is_heard(typist: &mut Client, reader: &mut Client, session: &str) {
    eventually("typing is heard", async || {
        typist.say("typing:start", &json!({ "sessionId": session })).await;
        timeout(Duration::from_millis(300), reader.event("typing")).await.is_ok()
    })
    .await;
    // Late events must not count the next time.
    while timeout(Duration::from_millis(300), reader.event("typing")).await.is_ok() {}
}

#[tokio::test]
async fn f11_a_slot_moves_while_live_and_its_master_dies_and_nobody_misses_anything() {
    let mut cluster = RedisCluster::start().await;
    let desk = two_nodes(&cluster).await;
    // A conversation whose slot is not on the first master.
    let (mut talk, slot) = loop {
        let talk = Talk::on(&desk).await;
        let slot = cluster.slot(&talk.channel()).await;
        if RedisCluster::first_owner(slot) != 0 {
            break (talk, slot);
        }
    };
    talk.typing_is_heard().await;
    let from = RedisCluster::first_owner(slot);
    talk.while_it_happens(cluster.move_slot(slot, from, 0)).await;
    talk.typing_is_heard().await;

    cluster.nodes[0].kill().await;
    talk.while_it_happens(cluster.await_failover()).await;
    talk.typing_is_heard().await;
    // A new conversation works too.
    Talk::on(&desk).await.exchange().await;
}

#[tokio::test]
async fn f11_many_slots_move_and_every_room_is_heard_again() {
    let cluster = RedisCluster::start().await;
    let desk = two_nodes(&cluster).await;
    let mut talks = Vec::new();
    for _ in 0..6 {
        talks.push(Talk::on(&desk).await);
    }
    for talk in &talks {
        let slot = cluster.slot(&talk.channel()).await;
        let from = RedisCluster::first_owner(slot);
        cluster.move_slot(slot, from, (from + 1) % 3).await;
    }
    // One slot moves back at once.
    let slot = cluster.slot(&talks[0].channel()).await;
    let from = RedisCluster::first_owner(slot);
    cluster.move_slot(slot, (from + 1) % 3, from).await;
    for talk in &mut talks {
        talk.typing_is_heard().await;
        talk.exchange().await;
    }
}

#[tokio::test]
async fn f7_f11_without_the_whole_cluster_people_hear_each_other_and_it_comes_back_empty() {
    let mut cluster = RedisCluster::start().await;
    let desk = two_nodes(&cluster).await;
    let mut talk = Talk::on(&desk).await;
    talk.exchange().await;
    cluster.kill().await;
    let anyone = Http::new(desk.nodes[1].address, None);
    talk.while_it_happens(eventually("health reports that Redis is down", async || {
        anyone.get("/health").await.body["services"]["redis"] == "down"
    }))
    .await;
    assert_eq!(anyone.get("/health/ready").await.status, 200, "the node must stay ready");
    let mut late = Talk::on(&desk).await;
    late.exchange().await;
    cluster.revive().await;
    eventually("health is ok", async || anyone.get("/health").await.body["status"] == "ok").await;
    for talk in [&mut talk, &mut late] {
        talk.typing_is_heard().await;
        talk.exchange().await;
    }
}
