//! Socket.IO's connection state recovery: the server reports a client's position, from which it can resume.
//!
//! A stock client remembers the last argument of an event if it is a string, and sends it with its
//! `pid` when it reconnects. The reference server appends this string to every event. Clients without
//! support (such as those of Dart and Python) then call their handlers with an extra argument. So here
//! it is a separate event, behind the events that it covers, once per write.

use axum::extract::ws::Utf8Bytes;

use crate::outbound::{Frame, Mark};
use bus::broadcast::Room;
use protocol::{
    Framing,
    offset::{Offset, ReceivedPosition},
    socketio,
};

/// Position of a connection's client, by the frames written to it.
#[derive(Debug, Default)]
pub struct Recovery {
    offset: Offset,
    changed: bool,
    /// Whether the position must be sent before any other frame.
    urgent: bool,
}

impl Recovery {
    /// Texts for these frames in order, with the position if it has changed.
    pub fn texts(&mut self, frames: impl IntoIterator<Item = Frame>) -> Vec<Utf8Bytes> {
        let mut texts = Vec::new();
        for frame in frames {
            if let Frame::Mark(mark) = frame {
                self.mark(mark);
                continue;
            }
            if self.urgent {
                texts.extend(self.tell());
            }
            texts.push(frame.text(Framing::SocketIo));
            self.note(&frame);
        }
        texts.extend(self.tell());
        texts
    }

    fn mark(&mut self, mark: Mark) {
        let Offset { epoch: counted, positions } = &mut self.offset;
        match mark {
            Mark::Entered { session_id, epoch, up_to } => {
                if *counted != epoch {
                    // Positions of another epoch cannot be resumed.
                    *counted = epoch;
                    positions.clear();
                }
                positions.insert(session_id, ReceivedPosition::at(up_to));
                // The position precedes the answer. If the connection broke between them, the client
                // would otherwise believe that it is in the session, and not resume it.
                self.urgent = true;
            }
            Mark::UpTo { session_id, seq } => {
                let Some(position) = positions.get_mut(&session_id) else { return };
                position.advance(seq);
            }
            Mark::Has { session_id, seq } => {
                let Some(position) = positions.get_mut(&session_id) else { return };
                position.add(seq);
            }
            Mark::Left { session_id } => drop(positions.remove(&session_id)),
        }
        self.changed = true;
    }

    fn note(&mut self, frame: &Frame) {
        let broadcast = match frame {
            Frame::Broadcast(broadcast) => broadcast.as_ref(),
            Frame::History(broadcast, _) => broadcast,
            Frame::Answer(_, Some(mark)) => return self.mark(*mark),
            _ => return,
        };
        if let (Room::Session(key), Some(seq)) = (&broadcast.room, broadcast.seq())
            && let Some(position) = self.offset.positions.get_mut(&key.id)
        {
            position.advance(seq);
            self.changed = true;
        }
    }

    fn tell(&mut self) -> Option<Utf8Bytes> {
        self.urgent = false;
        std::mem::take(&mut self.changed).then(|| socketio::offset(&self.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::{EpochId, SessionId};
    use platform::new_id;

    fn offset(text: &Utf8Bytes) -> Offset {
        let event: (String, String) =
            serde_json::from_str(text.as_str().strip_prefix("42").unwrap()).unwrap();
        assert_eq!(event.0, "session:offset");
        event.1.parse().unwrap()
    }

    fn answer(mark: Mark) -> Frame {
        Frame::Answer(Utf8Bytes::from_static("43"), Some(mark))
    }

    #[test]
    fn a_client_knows_that_it_is_in_before_it_hears_so_and_what_it_has_once_a_write() {
        let (mut recovery, session_id) = (Recovery::default(), SessionId(new_id()));
        let epoch = EpochId(new_id());
        assert_eq!(recovery.texts([Frame::Text("43".into())]).len(), 1, "there is nothing to tell");
        let entered = Frame::Mark(Mark::Entered { session_id, epoch, up_to: 3 });
        let joined = answer(Mark::UpTo { session_id, seq: 5 });
        let own = answer(Mark::Has { session_id, seq: 7 });
        let texts = recovery.texts([entered, joined, own]);
        assert_eq!(texts.len(), 4);
        assert_eq!(offset(&texts[0]).positions[&session_id], ReceivedPosition::at(3));
        let position = ReceivedPosition { up_to: 5, beyond: [7].into() };
        assert_eq!(offset(&texts[3]).positions[&session_id], position);
        let left = recovery.texts([Frame::Mark(Mark::Left { session_id })]);
        assert_eq!(offset(&left[0]), Offset { epoch, ..Offset::default() });
        let elsewhere = recovery.texts([answer(Mark::Has { session_id, seq: 8 })]);
        assert_eq!(elsewhere.len(), 1, "it is not in there");
        let epoch = EpochId(new_id());
        recovery.texts([Frame::Mark(Mark::Entered {
            session_id: SessionId(new_id()),
            epoch,
            up_to: 1,
        })]);
        let entered = Frame::Mark(Mark::Entered { session_id, epoch: EpochId(new_id()), up_to: 0 });
        let texts = recovery.texts([entered]);
        assert_eq!(offset(&texts[0]).positions, [(session_id, ReceivedPosition::at(0))].into());
    }
}
