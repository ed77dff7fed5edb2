//! Effects of a write to a socket.

use std::sync::Arc;

use crate::memory::Charge;
use crate::outbound::{Frame, Queued};
use bus::{broadcast::Broadcast, delivery::CopyTimes};
use model::{ids::SessionId, person::Person};

/// Frames that a socket has taken.
#[derive(Debug, Default)]
pub struct Written {
    /// Number of frames written. A framing may omit some and add its own.
    pub frames: usize,
    /// Memory charge, held until the write is complete.
    pub(super) charge: Option<Charge>,
    /// Size of the largest frame, in bytes.
    largest: usize,
    /// Copies of new messages.
    pub copies: Vec<CopyTimes>,
    /// Traced broadcasts, held until all frames are written.
    pub(super) traced: Vec<Arc<Broadcast>>,
    /// Last `seq` of messages per session, by author.
    pub(super) delivered: Vec<(SessionId, Option<Person>, u64)>,
    /// Whether a probe is included.
    pub probe: bool,
}

impl Written {
    /// Collects these frames and their charges. The number of frames is set after the write.
    pub fn of(queued: &mut [Queued]) -> Self {
        let mut written = Self::default();
        for queued in queued {
            let charge = queued.take_charge();
            let frame = queued.frame();
            written.largest = written.largest.max(frame.bytes());
            match (&mut written.charge, charge) {
                (Some(all), Some(charge)) => all.absorb(charge),
                (all, Some(charge)) => *all = Some(charge),
                (_, None) => {}
            }
            written.probe |= matches!(frame, Frame::Probe);
            if let Frame::Broadcast(broadcast) = frame {
                written.copies.extend(CopyTimes::of(broadcast));
                if broadcast.delivery_span().is_some() {
                    written.traced.push(Arc::clone(broadcast));
                }
            }
            let Some((id, author, seq)) = frame.delivers() else { continue };
            let same = |(session, by, _): &&mut (SessionId, Option<Person>, u64)| {
                (*session, by.as_ref()) == (id, author)
            };
            match written.delivered.iter_mut().find(same) {
                Some((_, _, up_to)) => *up_to = (*up_to).max(seq),
                None => written.delivered.push((id, author.cloned(), seq)),
            }
        }
        written
    }

    /// For an interrupted write: the charge for data that the socket still holds, namely the current
    /// frame and the next one.
    pub fn broken_off(self) -> Option<Charge> {
        let mut charge = self.charge?;
        charge.shrink_to(2 * self.largest);
        Some(charge)
    }

    /// Sets the number of frames written.
    pub fn in_frames(self, frames: usize) -> Self {
        Self { frames, ..self }
    }
}
