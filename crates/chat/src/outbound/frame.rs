//! Frames in the outbound queue, and their memory.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::memory::Charge;
use bus::broadcast::{Broadcast, Room};
use model::{
    ids::{EpochId, SessionId},
    person::Person,
};
use protocol::{Framing, engineio};

/// Maximum overhead of a frame beside its text, in bytes: its entry in the queue, and a broadcast's fields.
const AROUND: usize = 128;
const AROUND_BROADCAST: usize = 512;

/// Change of the client's position beside the messages that it is sent.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    /// The client is about to be in a session, of which it has everything up to here.
    Entered {
        /// The session.
        session_id: SessionId,
        /// Epoch of the position.
        epoch: EpochId,
        /// Everything up to this `seq` was received.
        up_to: u64,
    },
    /// An answer contained everything up to here.
    UpTo {
        /// The session.
        session_id: SessionId,
        /// Everything up to this `seq` was received.
        seq: u64,
    },
    /// The acknowledgement of the client's own send contained this message.
    Has {
        /// The session.
        session_id: SessionId,
        /// The `seq` of one message that was received.
        seq: u64,
    },
    /// The client has left the session.
    Left {
        /// The session.
        session_id: SessionId,
    },
}

/// A frame to send.
#[derive(Debug)]
pub enum Frame {
    /// An event of a room.
    Broadcast(Arc<Broadcast>),
    /// A message of the history, with the permit for its place in the queue.
    History(Box<Broadcast>, OwnedSemaphorePermit),
    /// An answer, or an event for this connection alone.
    Text(Utf8Bytes),
    /// Answer, and the client's position after it.
    Answer(Utf8Bytes, Option<Mark>),
    /// Packet of the framing itself, outside the connection.
    Control(Utf8Bytes),
    /// A ping, in the form of the framing.
    Ping,
    /// Ping in addition to the framing's own, for a sign of life. A poll omits it, as the next poll is
    /// a sign of life.
    Probe,
    /// Change of the client's position. It is not sent itself.
    Mark(Mark),
}

impl Frame {
    /// Memory of the frame in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Broadcast(broadcast) => held_by(broadcast),
            Self::History(broadcast, _) => held_by(broadcast),
            Self::Text(text) | Self::Answer(text, _) | Self::Control(text) => text.len() + AROUND,
            Self::Ping | Self::Probe | Self::Mark(_) => AROUND,
        }
    }

    /// Maximum number of Socket.IO packets, without the position that may follow all frames.
    pub fn packets(&self) -> usize {
        match self {
            // The position is sent before the next frame.
            Self::Mark(Mark::Entered { .. }) => 1,
            Self::Mark(_) | Self::Probe => 0,
            _ => 1,
        }
    }

    /// Session, author and last `seq` of the delivered messages. No author for an answer with several.
    pub(super) fn delivers(&self) -> Option<(SessionId, Option<&Person>, u64)> {
        let broadcast = match self {
            Self::Broadcast(broadcast) => broadcast.as_ref(),
            Self::History(broadcast, _) => broadcast,
            Self::Answer(_, Some(Mark::UpTo { session_id, seq })) => {
                return Some((*session_id, None, *seq));
            }
            _ => return None,
        };
        match (&broadcast.room, broadcast.seq()) {
            (Room::Session(key), Some(seq)) => Some((key.id, broadcast.author(), seq)),
            _ => None,
        }
    }

    /// Text of the frame in a framing. The native framing has its own pings.
    pub fn text(&self, framing: Framing) -> Utf8Bytes {
        match self {
            Self::Broadcast(broadcast) => broadcast.text(framing),
            Self::History(broadcast, _) => broadcast.text(framing),
            Self::Text(text) | Self::Answer(text, _) | Self::Control(text) => text.clone(),
            Self::Ping | Self::Probe => engineio::PING,
            Self::Mark(_) => Utf8Bytes::default(),
        }
    }
}

/// Memory of a broadcast: its data, and its text in a framing, which is made when it is written. A
/// shared broadcast is counted for each connection.
fn held_by(broadcast: &Broadcast) -> usize {
    2 * broadcast.size() + AROUND_BROADCAST
}

/// A waiting frame, and its memory charge. Boxed, as the channel holds room for 32 of them while a connection is idle.
#[derive(Debug)]
pub struct Queued(Box<(Frame, Option<Charge>)>);

impl Queued {
    pub(super) fn charged(frame: Frame, charge: Charge) -> Self {
        Self(Box::new((frame, Some(charge))))
    }

    /// The frame.
    pub fn frame(&self) -> &Frame {
        &self.0.0
    }

    /// Takes the frame out. Its charge ends.
    pub fn into_frame(self) -> Frame {
        self.0.0
    }

    /// Takes the charge, which the framing's own packets have not before there is a connection.
    pub(super) fn take_charge(&mut self) -> Option<Charge> {
        self.0.1.take()
    }
}

impl From<Frame> for Queued {
    fn from(frame: Frame) -> Self {
        Self(Box::new((frame, None)))
    }
}
