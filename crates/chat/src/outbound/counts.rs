//! Connections: opened, closed by code, and written to.

use std::sync::Arc;

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use bus::delivery::Delivery;
use platform::metrics::{Histogram, counters, sizes};
use protocol::{CloseCode, Framing};

/// Connections, and the frames that are written to them.
#[derive(Debug)]
pub struct ConnectionCounts {
    /// Times of messages in each stage of delivery.
    pub delivery: Arc<Delivery>,
    opened: [Counter; 2],
    delivered: [Counter; 2],
    frames: [Counter; 2],
    closed: [Counter; 9],
    batch: Histogram,
}

/// Values of the label `framing`, in the order of [`place`].
pub const FRAMINGS: [&str; 2] = ["native", "socketio"];

/// Index of a framing's counter.
pub fn place(framing: Framing) -> usize {
    match framing {
        Framing::Native => 0,
        Framing::SocketIo => 1,
    }
}

/// Close codes that are counted. 1006 is the standard's code for a connection that ended without one.
const CODES: [&str; 9] = ["1000", "1001", "1006", "1009", "4400", "4401", "4403", "4408", "4429"];

impl ConnectionCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry, delivery: Arc<Delivery>) -> Self {
        let help = "Accepted connections, by framing";
        let opened = counters(registry, "connections_opened", help, "framing", FRAMINGS);
        let help = "Ended connections, by close code; 1006: without a close frame";
        let closed = counters(registry, "connections_closed", help, "code", CODES);
        let help = "Copies of new messages written to connections, by framing";
        let delivered = counters(registry, "messages_delivered", help, "framing", FRAMINGS);
        let help = "Frames written to connections, by framing";
        let frames = counters(registry, "frames_written", help, "framing", FRAMINGS);
        let batch = sizes(registry, "write_batch_frames", "Frames in one write to a connection");
        Self { delivery, opened, delivered, frames, closed, batch }
    }

    /// Counts an accepted connection.
    pub fn opened(&self, framing: Framing) {
        increase(&self.opened, place(framing), 1);
    }

    /// Counts an ended connection. `None` if the client was gone already.
    pub fn closed(&self, code: Option<CloseCode>) {
        let code = code.map_or(1006, CloseCode::code).to_string();
        if let Some(at) = CODES.iter().position(|known| *known == code) {
            increase(&self.closed, at, 1);
        }
    }

    /// Counts frames written at once, and the new messages that were delivered with them.
    pub fn wrote(&self, framing: Framing, frames: usize, messages: usize) {
        // Deliveries may be counted without a frame, for messages that the client has already.
        if frames > 0 {
            self.batch.count(frames);
        }
        increase(&self.frames, place(framing), frames);
        increase(&self.delivered, place(framing), messages);
    }
}

fn increase(counters: &[Counter], at: usize, by: usize) {
    if let Some(counter) = counters.get(at) {
        counter.inc_by(by as u64);
    }
}

/// Counters that nobody exports.
impl Default for ConnectionCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default(), Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use crate::outbound::counts::*;

    #[test]
    fn every_close_code_is_counted() {
        let counts = ConnectionCounts::default();
        let codes = [
            CloseCode::Bye,
            CloseCode::Draining,
            CloseCode::TooBig,
            CloseCode::BadFrame,
            CloseCode::Unauthorized,
            CloseCode::NotAllowed,
            CloseCode::SlowReader,
            CloseCode::Flooding,
        ];
        codes.into_iter().map(Some).chain([None]).for_each(|code| counts.closed(code));
        assert!(counts.closed.iter().all(|counter| counter.get() == 1));
    }
}
