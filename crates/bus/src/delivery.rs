//! Time that a message takes at each hop, by the clock of the node where the hop is.
//!
//! A message carries the time of its acceptance ([`SendTime`]), by its node's monotonic clock and by the wall
//! clock. Its own node receives it too (law I4), and so has both ends by the clock that never jumps. Other
//! nodes have only the wall clock: their durations are as exact as the two nodes' clocks. Only measurements
//! depend on this: order is by `seq`.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::time::Instant;

use crate::{
    broadcast::Broadcast,
    times::{DeliveryTimes, SendTime},
};
use platform::metrics::{Histogram, counter, histograms};

/// One copy of a message that is about to be written to a connection.
#[derive(Clone, Copy, Debug)]
pub struct CopyTimes {
    queued: Instant,
    sent: Option<SendTime>,
    committed: Option<Timestamp>,
}

impl CopyTimes {
    /// A copy of this broadcast, if it is a new message that came live.
    pub fn of(broadcast: &Broadcast) -> Option<Self> {
        let DeliveryTimes { committed, queued, .. } = &broadcast.times;
        let queued = *queued.get()?;
        Some(Self { queued, sent: broadcast.sent(), committed: *committed })
    }
}

/// Durations of the stages of delivery.
#[derive(Debug)]
pub struct Delivery {
    started_as: u64,
    started: Instant,
    /// Check of a picture.
    pub picture: Histogram,
    /// Wait for a batch.
    pub writer_queue: Histogram,
    /// Commit of a batch.
    pub commit: Histogram,
    bus: Histogram,
    hub: Histogram,
    outbound_queue: Histogram,
    same_node: Histogram,
    other_node: Histogram,
    filled: Histogram,
    clock_ahead: Counter,
}

impl Delivery {
    /// Registers the histograms.
    pub fn new(registry: &mut Registry) -> Self {
        let stages = ["picture", "writer_queue", "commit", "bus", "hub", "outbound_queue"];
        let help = "Time of messages in each stage of delivery, by this node's own clock";
        let [picture, writer_queue, commit, bus, hub, outbound_queue] =
            histograms(registry, "delivery_stage_seconds", help, "stage", stages);
        let help = "Time from accepting a message to writing a copy to a connection; \
                    other_node and filled are measured by two clocks";
        let paths = ["same_node", "other_node", "filled"];
        let [same_node, other_node, filled] =
            histograms(registry, "delivery_seconds", help, "path", paths);
        let help = "Copies that, by the clocks, were written before the message was accepted";
        let clock_ahead = counter(registry, "delivery_clock_ahead", help);
        Self {
            started_as: rand::random(),
            started: Instant::now(),
            picture,
            writer_queue,
            commit,
            bus,
            hub,
            outbound_queue,
            same_node,
            other_node,
            filled,
            clock_ahead,
        }
    }

    /// Times of a message that was accepted then and is published now.
    pub fn sent(&self, accepted: Instant) -> SendTime {
        let now = Instant::now();
        let waited = i64::try_from((now - accepted).as_micros()).unwrap_or(i64::MAX);
        SendTime {
            by: self.started_as,
            accepted: self.micros(accepted),
            published: self.micros(now),
            at: Timestamp::now().as_microsecond().saturating_sub(waited),
        }
    }

    /// Records the reception from the bus. For the node's own messages the time on the bus is known by one
    /// clock.
    pub fn received(&self, broadcast: &Broadcast) {
        if let (Some(sent), Some(received)) = (broadcast.sent(), broadcast.times.received)
            && sent.by == self.started_as
        {
            self.bus.took(between(sent.published, self.micros(received)));
        }
    }

    /// Records that a new message is put into queues: all at the same time.
    pub fn queued(&self, broadcast: &Broadcast) {
        let DeliveryTimes { received, queued, .. } = &broadcast.times;
        if broadcast.seq().is_none() || queued.get().is_some() {
            return;
        }
        let now = *queued.get_or_init(Instant::now);
        if let Some(received) = received {
            self.hub.took(now - *received);
        }
    }

    /// Records that these copies were written.
    pub fn written(&self, copies: &[CopyTimes]) {
        if copies.is_empty() {
            return;
        }
        let (now, wall) = (Instant::now(), Timestamp::now().as_microsecond());
        for copy in copies {
            self.outbound_queue.took(now - copy.queued);
            match (copy.sent, copy.committed) {
                (Some(sent), _) if sent.by == self.started_as => {
                    self.same_node.took(between(sent.accepted, self.micros(now)));
                }
                (Some(sent), _) => self.by_the_wall(&self.other_node, sent.at, wall),
                (None, Some(committed)) => {
                    self.by_the_wall(&self.filled, committed.as_microsecond(), wall);
                }
                // From a node that does not send times.
                (None, None) => {}
            }
        }
    }

    fn by_the_wall(&self, path: &Histogram, from: i64, to: i64) {
        if to < from {
            self.clock_ahead.inc();
        }
        let took = u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        path.took(Duration::from_micros(took));
    }

    /// Microseconds since this process began.
    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

fn between(from: u64, to: u64) -> Duration {
    Duration::from_micros(to.saturating_sub(from))
}

/// Measurements that nobody exports.
impl Default for Delivery {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn copy(sent: Option<SendTime>, committed: Option<Timestamp>) -> CopyTimes {
        CopyTimes { queued: Instant::now(), sent, committed }
    }

    #[test]
    fn each_path_goes_by_the_clock_that_it_can_go_by() {
        let mut registry = Registry::default();
        let (here, there) = (Delivery::new(&mut registry), Delivery::default());
        let (accepted, wall) = (Instant::now(), Timestamp::now().as_microsecond());
        // The wall clock is not used for a node's own messages.
        let own = SendTime { at: wall - 3_600_000_000, ..here.sent(accepted) };
        let late = SendTime { at: wall - 3_000_000, ..there.sent(accepted) };
        let ahead = SendTime { at: wall + 3_600_000_000, ..late };
        let hour_ago = Timestamp::from_microsecond(wall - 3_600_000_000).unwrap();
        here.written(&[copy(Some(own), None), copy(Some(late), None), copy(Some(ahead), None)]);
        here.written(&[copy(None, Some(hour_ago)), copy(None, None)]);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"delivery_seconds_bucket{le="1.0",path="same_node"} 1"#,
            r#"delivery_seconds_bucket{le="0.0001",path="other_node"} 1"#,
            r#"delivery_seconds_bucket{le="2.5",path="other_node"} 1"#,
            r#"delivery_seconds_bucket{le="5.0",path="other_node"} 2"#,
            r#"delivery_seconds_bucket{le="10.0",path="filled"} 0"#,
            r#"delivery_seconds_bucket{le="+Inf",path="filled"} 1"#,
            r#"delivery_stage_seconds_count{stage="outbound_queue"} 5"#,
            "delivery_clock_ahead_total 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
    }

    #[test]
    fn i12_a_node_that_tells_nothing_of_it_is_heard_all_the_same() {
        use crate::broadcast::Room;
        use model::ids::{SessionId, TenantId};
        use platform::new_id;
        let room = Room::Session(TenantId::MAIN.session(SessionId(new_id())));
        let before = br#"{"v":1,"event":"message:new","seq":1,"data":{}}"#;
        let broadcast = Broadcast::from_bytes(room, before).unwrap();
        let here = Delivery::default();
        here.received(&broadcast);
        here.queued(&broadcast);
        here.written(&[CopyTimes::of(&broadcast).unwrap()]);
    }
}
