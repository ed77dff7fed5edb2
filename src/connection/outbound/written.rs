//! What a write to a socket has brought.

use std::sync::Arc;

use super::Frame;
use crate::{
    metrics::delivery::Copied, person::PersonKind, session::SessionId, wire::broadcast::Broadcast,
};

/// What a socket has taken.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// As many as were written: a framing may leave some out, and add its own.
    pub(crate) frames: usize,
    pub(super) bytes: usize,
    /// New messages, a copy each.
    pub(crate) copies: Vec<Copied>,
    /// What is traced is held until all of it is written.
    pub(super) traced: Vec<Arc<Broadcast>>,
    /// Messages up to here of these sessions, by who wrote them.
    pub(super) delivered: Vec<(SessionId, Option<PersonKind>, u64)>,
}

impl Written {
    /// All of these frames; how many are written is known when they are.
    pub(crate) fn of(frames: &[Frame]) -> Self {
        let mut written = Self::default();
        for frame in frames {
            written.bytes += frame.bytes();
            if let Frame::Broadcast(broadcast) = frame {
                written.copies.extend(Copied::of(broadcast));
                if broadcast.heard().is_some() {
                    written.traced.push(Arc::clone(broadcast));
                }
            }
            let Some((id, author, seq)) = frame.delivers() else { continue };
            let same = |(session, by, _): &&mut (_, _, u64)| (*session, *by) == (id, author);
            match written.delivered.iter_mut().find(same) {
                Some((_, _, up_to)) => *up_to = (*up_to).max(seq),
                None => written.delivered.push((id, author, seq)),
            }
        }
        written
    }

    /// It took so many frames.
    pub(crate) fn in_frames(self, frames: usize) -> Self {
        Self { frames, ..self }
    }
}
