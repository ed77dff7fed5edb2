//! A person with a valid token who tries to get into the sessions of others.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use frontdesk_test_support::{Client, Framing, Person};
use rand::{RngExt, rngs::StdRng};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    device::Phase,
    history::{Fact, Recorder, Told},
};

/// Time that a stranger listens after each attempt.
const LISTENING: Duration = Duration::from_secs(1);

pub(crate) struct Stranger {
    pub(crate) number: usize,
    pub(crate) person: Person,
    /// Sessions of others.
    pub(crate) sessions: Vec<String>,
    pub(crate) nodes: Arc<Vec<SocketAddr>>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) rng: StdRng,
}

impl Stranger {
    /// Runs until the phase is [`Phase::End`].
    pub(crate) async fn run(mut self) {
        while *self.phase.borrow() != Phase::End {
            let node = self.nodes[self.rng.random_range(0..self.nodes.len())];
            let session = self.sessions[self.rng.random_range(0..self.sessions.len())].clone();
            let connecting = Client::try_connect_by(Framing::Native, node, &self.person.token);
            if let Ok(Some(mut client)) = timeout(LISTENING * 5, connecting).await {
                drop(timeout(LISTENING, self.intrude(&mut client, &session)).await);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn intrude(&self, client: &mut Client, session: &str) -> Option<()> {
        let forged = json!({
            "sessionId": session, "clientId": "stranger", "kind": "text", "body": "let me in",
        });
        client.try_ask("session:join", &json!({ "sessionId": session })).await?;
        client.try_ask("message:send", &forged).await?;
        client.try_ask("message:read", &json!({ "sessionId": session, "seq": 1 })).await?;
        loop {
            let frame = client.next().await?;
            let hears = frame["event"].is_string() && frame.to_string().contains(session);
            if frame["ok"] == true || hears {
                let session = session.to_owned();
                self.recorder.note(self.number, Fact::Joined { session, after: 0 });
            }
            if frame["event"] == "message:new" {
                let told = Told::read(&frame["data"]["message"]);
                self.recorder.note(self.number, Fact::Heard(told));
            }
        }
    }
}
