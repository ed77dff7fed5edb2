//! What a write to a socket has brought.

use std::sync::Arc;

use super::{Frame, Queued};
use crate::{
    memory::Charge, metrics::delivery::Copied, person::PersonKind, session::SessionId,
    wire::broadcast::Broadcast,
};

/// What a socket has taken.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// As many as were written: a framing may leave some out, and add its own.
    pub(crate) frames: usize,
    /// For what was written, until it is.
    pub(super) charge: Option<Charge>,
    /// The largest of them, in bytes.
    largest: usize,
    /// New messages, a copy each.
    pub(crate) copies: Vec<Copied>,
    /// What is traced is held until all of it is written.
    pub(super) traced: Vec<Arc<Broadcast>>,
    /// Messages up to here of these sessions, by who wrote them.
    pub(super) delivered: Vec<(SessionId, Option<PersonKind>, u64)>,
    /// A probe is among them.
    pub(crate) probe: bool,
}

impl Written {
    /// All of these frames, with their charges; how many are written is known when they are.
    pub(crate) fn of(queued: &mut [Queued]) -> Self {
        let mut written = Self::default();
        for Queued { frame, charge } in queued {
            written.largest = written.largest.max(frame.bytes());
            match (&mut written.charge, charge.take()) {
                (Some(all), Some(charge)) => all.absorb(charge),
                (all, Some(charge)) => *all = Some(charge),
                (_, None) => {}
            }
            written.probe |= matches!(frame, Frame::Probe);
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

    /// It is broken off: the charge for what the socket still holds, the frame that it writes and the
    /// one behind it.
    pub(crate) fn broken_off(self) -> Option<Charge> {
        let mut charge = self.charge?;
        charge.shrink_to(2 * self.largest);
        Some(charge)
    }

    /// It took so many frames.
    pub(crate) fn in_frames(self, frames: usize) -> Self {
        Self { frames, ..self }
    }
}
