//! Channels of rooms.

use async_trait::async_trait;
use fred::interfaces::PubsubInterface;
use futures_util::future::try_join_all;

use super::{Outgoing, Redis, watch};
use crate::{
    BusError, PubSub,
    broadcast::{Broadcast, Room},
};

#[async_trait]
impl PubSub for Redis {
    fn publish(&self, mut broadcast: Broadcast) {
        broadcast.publish();
        self.publisher.publish(Outgoing::Broadcast(broadcast));
    }

    fn waiting(&self) -> usize {
        self.publisher.waiting()
    }

    async fn flush(&self) {
        self.publisher.flush().await;
    }

    async fn subscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        if self.is_cluster {
            // One command per room, as each room has its own slot. The client waits for each command's
            // reply from the node with the slot: then the subscription stands (law I5).
            let replies = rooms.iter().map(|room| self.subscriber.ssubscribe(room.to_string()));
            try_join_all(replies).await?;
            return Ok(());
        }
        self.subscriber.subscribe(channels(rooms)).await?;
        // The client returns when the command is sent. Redis answers in order, so the reply to a later
        // PING shows that the subscription stands (law I5).
        Ok(watch::ping(&self.subscriber).await?)
    }

    async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        if self.is_cluster {
            let replies = rooms.iter().map(|room| self.subscriber.sunsubscribe(room.to_string()));
            try_join_all(replies).await?;
        } else {
            self.subscriber.unsubscribe(channels(rooms)).await?;
        }
        Ok(())
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.watch.ask().await.map_err(|trouble| BusError(trouble.to_string()))
    }
}

fn channels(rooms: &[Room]) -> Vec<String> {
    rooms.iter().map(ToString::to_string).collect()
}
