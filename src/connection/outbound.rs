//! A connection's outbound queue: bounded, and never waited for.
//!
//! Law I8: a full queue ends its connection as a slow reader; it comes back with `after` and misses
//! nothing. Nobody else notices.

mod backlog;
mod written;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use axum::extract::ws::Utf8Bytes;
use serde_json::value::RawValue;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::recovery::Mark;
use crate::{
    error::Error,
    message::ClientId,
    metrics::connections::ConnectionCounts,
    person::{Person, PersonKind},
    receipts::Receipts,
    session::SessionId,
    wire::{
        CloseCode, Framing,
        broadcast::{Broadcast, Room},
        engineio,
        told::{Event, ServerDraining},
    },
};

use backlog::Backlog;
pub(crate) use written::Written;

/// How many frames wait for a reader at most.
pub(crate) const QUEUE: usize = 256;
/// How many bytes: one frame more than that may wait, so that any frame can be sent.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// With so many bytes waiting the client's next requests wait too: it reads too little for more.
const BUSY_BYTES: usize = 512 * 1024;
/// How many of them are history, which waits for its turn and must leave room for what is live.
const HISTORY: usize = 32;
/// How many of its own sends a connection remembers; far more than it can have under way.
const OWN_SENDS: usize = 256;

/// A connection's number on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

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
    /// Nothing to send: what the client has by what was sent.
    Mark(Mark),
}

impl Frame {
    /// What it holds, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Broadcast(broadcast) => broadcast.size(),
            Self::History(broadcast, _) => broadcast.size(),
            Self::Text(text) | Self::Answer(text, _) => text.len(),
            Self::Control(_) | Self::Ping | Self::Mark(_) => 0,
        }
    }

    /// Up to where it brings a session's messages, and who wrote them, if it was one alone.
    fn delivers(&self) -> Option<(SessionId, Option<PersonKind>, u64)> {
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
            Self::Ping => engineio::PING,
            Self::Mark(_) => Utf8Bytes::default(),
        }
    }
}

/// The end of the queue that everyone but the connection itself holds.
#[derive(Debug)]
pub(crate) struct Outbound {
    id: ConnectionId,
    person: Person,
    framing: Framing,
    queue: mpsc::Sender<Frame>,
    receipts: Arc<Receipts>,
    counts: Arc<ConnectionCounts>,
    backlog: Backlog,
    room: Notify,
    history: Arc<Semaphore>,
    closing: OnceLock<CloseCode>,
    closed: Notify,
    /// Sends whose acknowledgement is this connection's copy: the room's is left out.
    own_sends: Mutex<VecDeque<(SessionId, ClientId)>>,
}

impl Outbound {
    /// Frames go to `queue`, whose other end writes them.
    pub(crate) fn new(
        id: ConnectionId,
        person: Person,
        framing: Framing,
        queue: mpsc::Sender<Frame>,
        receipts: Arc<Receipts>,
        counts: Arc<ConnectionCounts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            person,
            framing,
            queue,
            receipts,
            counts,
            backlog: Backlog::new(),
            room: Notify::new(),
            history: Arc::new(Semaphore::new(HISTORY)),
            closing: OnceLock::new(),
            closed: Notify::new(),
            own_sends: Mutex::default(),
        })
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn person(&self) -> &Person {
        &self.person
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Enqueues what a room hears, unless it is this connection's own.
    pub(crate) fn push(&self, broadcast: &Arc<Broadcast>) {
        if !self.is_own(broadcast) && !self.is_cut_off() {
            if let Some(heard) = broadcast.heard() {
                heard.enqueued();
            }
            self.enqueue(Frame::Broadcast(Arc::clone(broadcast)));
        }
    }

    /// Enqueues the answer to the request of this id, and what the client has by it.
    pub(crate) fn answer(&self, id: u64, result: Result<&RawValue, &Error>, mark: Option<Mark>) {
        self.enqueue(Frame::Answer(self.framing.answer(id, result), mark));
    }

    /// Enqueues something that concerns this connection alone.
    pub(crate) fn tell<E: Event>(&self, event: &E) {
        let data = serde_json::value::to_raw_value(event).unwrap_or_default();
        self.enqueue(Frame::Text(self.framing.push(E::NAME, &data)));
    }

    /// Notes what the client has, for a framing that tells it.
    pub(crate) fn mark(&self, mark: Mark) {
        if self.framing == Framing::SocketIo {
            self.enqueue(Frame::Mark(mark));
        }
    }

    pub(crate) fn ping(&self) {
        self.enqueue(Frame::Ping);
    }

    fn enqueue(&self, frame: Frame) {
        let waiting = self.backlog.grow(frame.bytes());
        if waiting > QUEUE_BYTES || self.queue.try_send(frame).is_err() {
            self.close(CloseCode::SlowReader);
        }
    }

    /// How many bytes wait, and for how long nothing of them was taken; `None` where nothing waits.
    pub(crate) fn waiting(&self) -> Option<(usize, Duration)> {
        self.backlog.waiting()
    }

    /// This has been written.
    pub(crate) fn written(&self, written: &Written) {
        self.backlog.shrink(written.bytes);
        self.counts.wrote(self.framing, written.frames, written.copies.len());
        self.counts.delivery.written(&written.copies);
        self.room.notify_one();
        for (id, author, seq) in &written.delivered {
            // One's own are on their way to the other side, not from there.
            if *author != Some(self.person.kind) {
                self.receipts.delivered(*id, &self.person, *seq);
            }
        }
    }

    /// Whether more is waiting than the client should add to by asking.
    pub(crate) fn is_busy(&self) -> bool {
        self.backlog.bytes() > BUSY_BYTES || self.queue.capacity() < QUEUE / 2
    }

    /// Resolves when something has been written, since the last time.
    pub(crate) async fn until_written(&self) {
        self.room.notified().await;
    }

    /// Waits for room for a message of the history: the reader sets the pace here. `None` where
    /// nobody reads any more.
    pub(crate) async fn history_turn(&self) -> Option<HistoryTurn<'_>> {
        let turn = Arc::clone(&self.history).acquire_owned().await.ok()?;
        let place = self.queue.reserve().await.ok()?;
        if self.is_cut_off() {
            return None;
        }
        Some(HistoryTurn { outbound: self, turn, place })
    }

    pub(crate) fn tell_draining(&self, after: Duration) {
        let reconnect_after_ms = after.as_millis().try_into().unwrap_or(u64::MAX);
        self.tell(&ServerDraining { reconnect_after_ms });
    }

    /// Ends the connection; the first reason counts.
    pub(crate) fn close(&self, code: CloseCode) {
        self.closing.get_or_init(|| code);
        self.closed.notify_waiters();
    }

    /// Why the connection ends, if it does.
    pub(crate) fn closing(&self) -> Option<CloseCode> {
        self.closing.get().copied()
    }

    /// Whether its person may hear nothing more, and is only told what became of their own requests.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.closing() == Some(CloseCode::NotAllowed)
    }

    /// Resolves when the connection is to end.
    pub(crate) async fn until_closing(&self) -> CloseCode {
        loop {
            let closed = self.closed.notified();
            if let Some(code) = self.closing() {
                return code;
            }
            closed.await;
        }
    }

    /// From now on, the room's copy of this send is not for this connection.
    pub(crate) fn remember_own(&self, session_id: SessionId, client_id: &ClientId) {
        let mut own_sends = self.own_sends();
        if own_sends.len() >= OWN_SENDS {
            own_sends.pop_front();
        }
        own_sends.push_back((session_id, client_id.clone()));
    }

    /// The send came to nothing new: there will be no copy of it.
    pub(crate) fn forget_own(&self, session_id: SessionId, client_id: &ClientId) {
        self.take_own(session_id, client_id);
    }

    fn is_own(&self, broadcast: &Broadcast) -> bool {
        if broadcast.author() != Some(&self.person) {
            return false;
        }
        match (&broadcast.room, broadcast.client_id()) {
            (Room::Session(id), Some(client_id)) => self.take_own(*id, client_id),
            _ => broadcast.is_for_others_only(),
        }
    }

    fn take_own(&self, session_id: SessionId, client_id: &ClientId) -> bool {
        let mut own_sends = self.own_sends();
        let found = own_sends.iter().position(|(id, key)| *id == session_id && key == client_id);
        found.is_some_and(|at| own_sends.remove(at).is_some())
    }

    fn own_sends(&self) -> MutexGuard<'_, VecDeque<(SessionId, ClientId)>> {
        self.own_sends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room in the queue for one message of the history.
pub(crate) struct HistoryTurn<'a> {
    outbound: &'a Outbound,
    turn: OwnedSemaphorePermit,
    place: mpsc::Permit<'a, Frame>,
}

impl HistoryTurn<'_> {
    /// Enqueues it, unless it is this connection's own.
    pub(crate) fn send(self, broadcast: Broadcast) {
        if !self.outbound.is_own(&broadcast) {
            let frame = Frame::History(Box::new(broadcast), self.turn);
            self.outbound.backlog.grow(frame.bytes());
            self.place.send(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::new_id;

    fn outbound() -> (Arc<Outbound>, mpsc::Receiver<Frame>) {
        let person = Person::new(PersonKind::Dentist, "7".parse().unwrap());
        let (queue, frames) = mpsc::channel(QUEUE);
        let (receipts, counts) = (Arc::default(), Arc::default());
        let id = ConnectionId(1);
        (Outbound::new(id, person, Framing::Native, queue, receipts, counts), frames)
    }

    #[tokio::test]
    async fn i8_a_full_queue_ends_its_connection_as_slow() {
        let (outbound, _queue) = outbound();
        let other = Person::new(PersonKind::Customer, "c".parse().unwrap());
        let typing = Arc::new(Broadcast::typing(SessionId(new_id()), &other, true));
        for _ in 0..QUEUE {
            outbound.push(&typing);
        }
        assert_eq!(outbound.closing(), None);
        outbound.push(&typing);
        assert_eq!(outbound.until_closing().await, CloseCode::SlowReader);
    }

    #[tokio::test]
    async fn i8_so_does_one_that_is_full_of_bytes() {
        let (outbound, _queue) = outbound();
        let page = serde_json::value::to_raw_value(&"x".repeat(QUEUE_BYTES / 4)).unwrap();
        outbound.answer(1, Ok(&page), None);
        assert!(outbound.is_busy(), "its requests wait");
        // What is written makes room.
        outbound.written(&Written { bytes: QUEUE_BYTES / 4, ..Written::default() });
        assert!(!outbound.is_busy());
        for id in 2..6 {
            outbound.answer(id, Ok(&page), None);
        }
        assert_eq!(outbound.closing(), None);
        outbound.answer(6, Ok(&page), None);
        assert_eq!(outbound.until_closing().await, CloseCode::SlowReader);
    }

    #[test]
    fn own_sends_are_left_out_once_and_bounded() {
        let (outbound, _queue) = outbound();
        let session_id = SessionId(new_id());
        let keys: Vec<ClientId> = (0..300).map(|n| n.to_string().parse().unwrap()).collect();
        for key in &keys {
            outbound.remember_own(session_id, key);
        }
        assert_eq!(outbound.own_sends().len(), OWN_SENDS);
        assert!(outbound.take_own(session_id, &keys[299]));
        assert!(!outbound.take_own(session_id, &keys[299]));
    }
}
