//! Detection of moved slots in a cluster.
//!
//! A node that gives a slot away ends the subscriptions of its channels. It reports this in a push that
//! the client does not forward, and no connection ends. So the slots are compared periodically on each node.

use std::{collections::HashMap, time::Duration};

use fred::{
    clients::Client,
    interfaces::ClusterInterface,
    types::{Value, config::Server},
};
use futures_util::future::join_all;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{BusEvent, ROUND_TRIP_TIMEOUT, pass_on};

/// Interval of checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a move. Operators move slots one by one, and each move resubscribes to everything.
const PAUSE_AFTER_MOVE: Duration = Duration::from_secs(2);

/// Slots of each node, and the epoch. The epoch reveals a slot that moved away and back.
type View = (Value, Option<String>);

/// Reports each move of a slot as an interruption.
pub(super) async fn keep_detecting_moves(
    commands: Client,
    subscriber: Client,
    events: mpsc::Sender<BusEvent>,
    moved: Counter,
) {
    let mut known: HashMap<Server, View> = HashMap::new();
    loop {
        let mut has_moved = false;
        for (server, view) in views(&commands).await {
            let before = known.insert(server, view.clone());
            has_moved |= before.is_some_and(|before| before != view);
        }
        if !has_moved {
            sleep(CHECK_INTERVAL).await;
            continue;
        }
        moved.inc();
        tracing::info!("Redis Cluster slots moved; subscriptions are renewed");
        for client in [&commands, &subscriber] {
            // Otherwise each command would discover the move by itself.
            if !matches!(timeout(ROUND_TRIP_TIMEOUT * 3, client.sync_cluster()).await, Ok(Ok(()))) {
                tracing::debug!("query of the Redis Cluster slots failed");
            }
        }
        pass_on(&events, BusEvent::Interrupted).await;
        sleep(PAUSE_AFTER_MOVE).await;
    }
}

/// Slots and epoch as seen by each node that answers.
async fn views(client: &Client) -> Vec<(Server, View)> {
    let views = primaries(client).into_iter().map(async |server| {
        let node = client.with_cluster_node(&server);
        let slots: Value = node.cluster_slots().await.ok()?;
        let state: String = node.cluster_info().await.ok()?;
        let epoch = state.lines().find(|line| line.starts_with("cluster_current_epoch:"));
        Some((server.clone(), (slots, epoch.map(str::to_owned))))
    });
    join_all(views).await.into_iter().flatten().collect()
}

/// Nodes with slots, as far as the client knows.
pub(super) fn primaries(client: &Client) -> Vec<Server> {
    client.cached_cluster_state().map(|state| state.unique_primary_nodes()).unwrap_or_default()
}
