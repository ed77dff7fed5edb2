//! Frames that wait in the outbound queue, and the memory that they hold.

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

/// The bytes that a frame takes beside its text at most: its place, and a broadcast's head.
const AROUND: usize = 64;
const AROUND_BROADCAST: usize = 512;

/// One thing to send.
#[derive(Debug)]
pub(crate) enum Frame {
    Broadcast(Arc<Broadcast>),
    History(Box<Broadcast>, #[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit),
    Text(Utf8Bytes),
    /// An answer, and what its client has by it.
    Answer(Utf8Bytes, Option<Mark>),
    /// A packet of the framing's own, beside the connection.
    Control(Utf8Bytes),
    Ping,
    /// A ping beside the framing's own, for a sign of life. A poll leaves it out: the next poll is one.
    Probe,
    /// Nothing to send: what the client has by what was sent.
    Mark(Mark),
}

impl Frame {
    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Broadcast(broadcast) => held_by(broadcast),
            Self::History(broadcast, _) => held_by(broadcast),
            Self::Text(text) | Self::Answer(text, _) | Self::Control(text) => text.len() + AROUND,
            Self::Ping | Self::Probe | Self::Mark(_) => AROUND,
        }
    }

    /// How many packets of Socket.IO it becomes at most, without the place that a client is told behind all.
    pub(crate) fn packets(&self) -> usize {
        match self {
            // The place is told before what comes next.
            Self::Mark(Mark::Entered { .. }) => 1,
            Self::Mark(_) | Self::Probe => 0,
            _ => 1,
        }
    }

    /// Up to where it brings a session's messages, and who wrote them, if it was one alone.
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

    /// As it is written in a framing. The native one has pings of its own.
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

/// The bytes that a broadcast holds: its data, and the text of a framing, which is made when it is
/// written. One that many connections share is counted for each.
fn held_by(broadcast: &Broadcast) -> usize {
    2 * broadcast.size() + AROUND_BROADCAST
}

/// A frame that waits, with what it is charged for.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) frame: Frame,
    /// None of a framing's own, before there is a connection.
    pub(super) charge: Option<Charge>,
}

impl From<Frame> for Queued {
    fn from(frame: Frame) -> Self {
        Self { frame, charge: None }
    }
}
