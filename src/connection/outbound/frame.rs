//! Frames in the outbound queue, and their memory.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    connection::recovery::Mark,
    memory::Charge,
    person::PersonKind,
    session::SessionId,
    wire::{
        Framing,
        broadcast::{Broadcast, Room},
        engineio,
    },
};

/// Maximum overhead of a frame beside its text, in bytes: its entry in the queue, and a broadcast's fields.
const AROUND: usize = 64;
const AROUND_BROADCAST: usize = 512;

/// A frame to send.
#[derive(Debug)]
pub(crate) enum Frame {
    Broadcast(Arc<Broadcast>),
    History(Box<Broadcast>, #[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit),
    Text(Utf8Bytes),
    /// Answer, and the client's position after it.
    Answer(Utf8Bytes, Option<Mark>),
    /// Packet of the framing itself, outside the connection.
    Control(Utf8Bytes),
    Ping,
    /// Ping in addition to the framing's own, for a sign of life. A poll omits it, as the next poll is
    /// a sign of life.
    Probe,
    /// Change of the client's position. It is not sent itself.
    Mark(Mark),
}

impl Frame {
    /// Memory of the frame in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Broadcast(broadcast) => held_by(broadcast),
            Self::History(broadcast, _) => held_by(broadcast),
            Self::Text(text) | Self::Answer(text, _) | Self::Control(text) => text.len() + AROUND,
            Self::Ping | Self::Probe | Self::Mark(_) => AROUND,
        }
    }

    /// Maximum number of Socket.IO packets, without the position that may follow all frames.
    pub(crate) fn packets(&self) -> usize {
        match self {
            // The position is sent before the next frame.
            Self::Mark(Mark::Entered { .. }) => 1,
            Self::Mark(_) | Self::Probe => 0,
            _ => 1,
        }
    }

    /// Session, kind of author and last `seq` of the delivered messages. No author for an answer with
    /// several.
    pub(super) fn delivers(&self) -> Option<(SessionId, Option<PersonKind>, u64)> {
        let broadcast = match self {
            Self::Broadcast(broadcast) => broadcast.as_ref(),
            Self::History(broadcast, _) => broadcast,
            Self::Answer(_, Some(Mark::UpTo { session_id, seq })) => {
                return Some((*session_id, None, *seq));
            }
            _ => return None,
        };
        match (&broadcast.room, broadcast.seq()) {
            (Room::Session(id), Some(seq)) => {
                Some((*id, broadcast.author().map(|author| author.kind), seq))
            }
            _ => None,
        }
    }

    /// Text of the frame in a framing. The native framing has its own pings.
    pub(crate) fn text(&self, framing: Framing) -> Utf8Bytes {
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

/// A waiting frame, and its memory charge.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) frame: Frame,
    /// `None` for the framing's own packets before there is a connection.
    pub(super) charge: Option<Charge>,
}

impl From<Frame> for Queued {
    fn from(frame: Frame) -> Self {
        Self { frame, charge: None }
    }
}
