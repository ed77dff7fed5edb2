//! A bus that repeats messages out of order: everything published is published once more, some time
//! later.

use std::{collections::HashSet, time::Duration};

use fred::{
    clients::Client,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{
        Builder,
        config::{Config, Server, ServerConfig},
    },
};
use rand::RngExt;
use tokio::{task::JoinSet, time::sleep};

/// Longest delay of a repetition.
const LATER: Duration = Duration::from_millis(400);

fn client(port: u16) -> Client {
    let server = ServerConfig::Centralized { server: Server::new("127.0.0.1", port) };
    Builder::from_config(Config { server, ..Config::default() }).build().unwrap()
}

/// Repeats the messages of session channels until it is dropped.
pub(crate) async fn repeat(port: u16) {
    let (ear, mouth) = (client(port), client(port));
    for client in [&ear, &mouth] {
        client.init().await.unwrap();
    }
    let mut heard = ear.message_rx();
    ear.psubscribe("frontdesk:session:*").await.unwrap();
    // A repetition is not repeated again.
    let mut known = HashSet::new();
    let mut repeating = JoinSet::new();
    while let Ok(message) = heard.recv().await {
        let channel = message.channel.to_string();
        let Some(envelope) = message.value.into_owned_bytes() else { continue };
        if known.insert(envelope.clone()) {
            let mouth = mouth.clone();
            let later = LATER.mul_f64(rand::rng().random::<f64>());
            repeating.spawn(async move {
                sleep(later).await;
                let said = mouth.publish::<i64, _, _>(channel, envelope.as_slice());
                drop(said.await);
            });
        }
    }
}
