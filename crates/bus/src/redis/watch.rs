//! Probes of whether Redis takes writes and delivers. An answering server may be the wrong one.
//!
//! After a failover, open connections may stay with the old master. It answers a PING, even delivers
//! messages of its own clients, and refuses every write. So a probe writes, publishes a message, and
//! counts its receivers. If it fails, the connections are made anew, which resolves the server's name again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, EventInterface, KeysInterface, PubsubInterface},
    types::{Expiration, Value, config::Server},
};
use futures_util::future::{join_all, try_join};
use tokio::{sync::broadcast, time::sleep};

use super::slots;
use crate::{cluster::ClusterSecret, counts::BusCounts};

/// Interval of probes, and the maximum pause after a reconnect that did not help.
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Unanswered probes in a row before the connections are made anew.
const UNANSWERED_MAX: u32 = 2;
/// Expiry of the key that a probe writes.
const PROBE_LASTS_SECS: i64 = 60;

/// Replies of a server that cannot be the bus now: first word and meaning.
const REFUSALS: [(&str, &str); 8] = [
    ("READONLY", "it is read-only: it has become a replica (READONLY)"),
    ("MASTERDOWN", "it is a replica without its master (MASTERDOWN)"),
    ("LOADING", "it is loading its data (LOADING)"),
    ("MISCONF", "it can't save to its disk, and refuses writes (MISCONF)"),
    ("NOREPLICAS", "it has too few replicas, and refuses writes (NOREPLICAS)"),
    ("CLUSTERDOWN", "its cluster is down (CLUSTERDOWN)"),
    ("NOAUTH", "it requires a password (NOAUTH)"),
    ("WRONGPASS", "it refuses the user or the password (WRONGPASS)"),
];

/// Reason why Redis cannot be the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it does not answer")]
    NoAnswer,
    /// Another server, or the same one later, may accept.
    #[error("{0}")]
    Refused(&'static str),
    /// Such as a missing right of the node's user. A new connection changes nothing.
    #[error("it refuses a command that a node needs; check the rights of its user, and its memory")]
    Unfit,
    #[error("publisher and subscriber are connected to different servers")]
    Split,
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        let word = error.details().split_whitespace().next().unwrap_or_default();
        if let Some((_, meaning)) = REFUSALS.iter().find(|(code, _)| *code == word) {
            return Self::Refused(meaning);
        }
        let is_reply = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_of_connection =
            matches!(error.kind(), ErrorKind::Timeout | ErrorKind::IO | ErrorKind::Canceled);
        if is_reply && !is_of_connection { Self::Unfit } else { Self::NoAnswer }
    }
}

#[derive(Debug)]
pub(super) struct Watch {
    commands: Client,
    subscriber: Client,
    is_cluster: bool,
    /// Key that a probe writes, and channel that it publishes in.
    name: String,
    /// Result of the last probe.
    trouble: Mutex<Option<Trouble>>,
}

impl Watch {
    pub(super) fn new(
        commands: Client,
        subscriber: Client,
        is_cluster: bool,
        secret: &ClusterSecret,
    ) -> Self {
        let name = format!("frontdesk:probe:{}", secret.node());
        Self { commands, subscriber, is_cluster, name, trouble: Mutex::default() }
    }

    /// Whether Redis can be the bus.
    pub(super) async fn ask(&self) -> Result<(), Trouble> {
        self.probe().await.map_err(|trouble| match (trouble, self.known()) {
            // Disconnected clients do not report the reason.
            (Trouble::NoAnswer, Some(known)) => known,
            (trouble, _) => trouble,
        })
    }

    /// Probes for as long as the node lives, and reconnects if that may help.
    pub(super) async fn keep_watching(self: Arc<Self>, counts: BusCounts) {
        let mut errors = self.commands.error_rx();
        let (mut pause, mut unanswered) = (PROBE_EVERY, 0);
        loop {
            sleep(pause).await;
            let found = self.probe().await.err();
            let while_connecting = last_refusal(&mut errors);
            let found = match found {
                Some(Trouble::NoAnswer) => while_connecting.or(found),
                found => found,
            };
            self.note(found);
            let Some(trouble) = found else {
                (pause, unanswered) = (PROBE_EVERY, 0);
                continue;
            };
            unanswered = if trouble == Trouble::NoAnswer { unanswered + 1 } else { 0 };
            if self.is_to_reconnect(trouble, unanswered) {
                let reason = match trouble {
                    Trouble::Split => &counts.split,
                    Trouble::NoAnswer => &counts.unanswered,
                    Trouble::Refused(_) | Trouble::Unfit => &counts.refused,
                };
                reason.inc();
                tokio::join!(reconnect(&self.commands), reconnect(&self.subscriber));
                pause = (pause * 2).min(PROBE_PAUSE_MAX);
                unanswered = 0;
            }
        }
    }

    async fn probe(&self) -> Result<(), Trouble> {
        if self.is_cluster {
            let both = try_join(ping_masters(&self.commands), ping_masters(&self.subscriber));
            return both.await.map(drop).map_err(|error| Trouble::from(&error));
        }
        let receivers = self.write_and_publish().await.map_err(|error| Trouble::from(&error))?;
        if receivers > 0 { Ok(()) } else { Err(Trouble::Split) }
    }

    /// Writes and publishes. Returns the number of receivers on the server that took the write.
    async fn write_and_publish(&self) -> Result<i64, Error> {
        // Repeated in each probe: a new connection has no subscription.
        self.subscriber.subscribe(self.name.clone()).await?;
        ping(&self.subscriber).await?;
        let lasts = Some(Expiration::EX(PROBE_LASTS_SECS));
        let pipeline = self.commands.pipeline();
        let _: () = pipeline.set(self.name.clone(), "", lasts, None, false).await?;
        let _: () = pipeline.publish(self.name.clone(), "").await?;
        let (_, receivers): (Value, i64) = pipeline.all().await?;
        Ok(receivers)
    }

    /// On a cluster the client maintains one connection per master, and a former master redirects. A
    /// reconnect would also drop the connections to the other masters.
    fn is_to_reconnect(&self, trouble: Trouble, unanswered: u32) -> bool {
        !self.is_cluster
            && match trouble {
                Trouble::Unfit => false,
                Trouble::NoAnswer => unanswered >= UNANSWERED_MAX,
                Trouble::Refused(_) | Trouble::Split => true,
            }
    }

    fn known(&self) -> Option<Trouble> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the result and logs each change.
    fn note(&self, found: Option<Trouble>) {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(reason) if *known != found => {
                tracing::warn!(%reason, "bus interrupted; delivery falls back to the head check");
            }
            None if known.is_some() => tracing::info!("bus works again"),
            _ => {}
        }
        *known = found;
    }
}

/// Whether Redis answers.
pub(super) async fn ping(client: &Client) -> Result<(), Error> {
    // A subscribing connection gets an array, any other a string.
    client.ping::<Value>(None).await.map(drop)
}

/// Whether every cluster node with slots answers.
async fn ping_masters(client: &Client) -> Result<(), Error> {
    let servers = slots::primaries(client);
    if servers.is_empty() {
        return ping(client).await;
    }
    let replies = servers
        .iter()
        .map(async |server| client.with_cluster_node(server).ping::<Value>(None).await.map(drop));
    join_all(replies).await.into_iter().collect()
}

/// Makes a client's connections anew. A disconnected client is reconnecting already.
async fn reconnect(client: &Client) {
    if client.is_connected()
        && let Err(error) = client.force_reconnection().await
    {
        tracing::debug!(%error, "redis reconnect failed; retrying");
    }
}

/// Last refusal while the client was connecting.
fn last_refusal(errors: &mut broadcast::Receiver<(Error, Option<Server>)>) -> Option<Trouble> {
    let mut last = None;
    loop {
        match errors.try_recv() {
            Ok((error, _)) => last = Some(Trouble::from(&error)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => {}
            Err(_) => return last.filter(|trouble| matches!(trouble, Trouble::Refused(_))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_first_word_and_told_without_the_servers_text() {
        let trouble =
            |kind: ErrorKind, details: &'static str| Trouble::from(&Error::new(kind, details));
        let demoted = "READONLY You can't write against a read only replica.";
        let told = trouble(ErrorKind::Unknown, demoted).to_string();
        assert_eq!(told, "it is read-only: it has become a replica (READONLY)");
        let locked = trouble(ErrorKind::Auth, "NOAUTH Authentication required.").to_string();
        assert!(locked.contains("(NOAUTH)"), "{locked}");
        for (kind, details, expected) in [
            (ErrorKind::Unknown, "OOM command not allowed", Trouble::Unfit),
            (ErrorKind::Unknown, "NOPERM this user", Trouble::Unfit),
            (ErrorKind::Timeout, "Request timed out.", Trouble::NoAnswer),
            (ErrorKind::IO, "Connection closed.", Trouble::NoAnswer),
            (ErrorKind::Unknown, "", Trouble::NoAnswer),
        ] {
            assert_eq!(trouble(kind, details), expected, "{details}");
        }
    }
}
