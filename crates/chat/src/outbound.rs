//! Outbound queue of a connection. It is bounded, and nothing waits for it.
//!
//! Law I8: a full queue closes its connection as a slow reader. The client reconnects with `after` and
//! misses nothing. Other connections are unaffected. Waiting frames are charged to their person and the
//! node ([`crate::memory`]).

pub mod counts;
mod frame;
mod liveness;
#[cfg(test)]
mod tests;
mod turns;
mod written;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::extract::ws::Utf8Bytes;
use serde_json::value::RawValue;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::strangers::Strangers;
use crate::{
    memory::{Ending, Memory, Reader},
    outbound::counts::ConnectionCounts,
    receipts::Receipts,
};
use bus::broadcast::{Broadcast, Room};
use model::{account::Account, scope::Scope};
use model::{ids::SessionId, message::ClientId, person::Person};
use protocol::{
    CloseCode, Framing,
    error::Error,
    server_events::{Event, ServerDraining},
};

pub use frame::{Frame, Mark, Queued};
use liveness::Liveness;
pub use liveness::Next;
pub use turns::PageTurn;
pub use written::Written;

/// Maximum number of waiting frames.
pub const QUEUE: usize = 256;
/// Maximum bytes of waiting frames. One frame may exceed it, so that any frame can be sent.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Waiting bytes above which the client's next requests wait too, as it reads too slowly.
const BUSY_BYTES: usize = 512 * 1024;
/// Maximum number of large answers (joins, catch-up pages) in preparation.
const PAGES: usize = 2;
/// Maximum number of queued history frames. History waits for its turn, so that live frames have room.
const HISTORY: usize = 32;
/// Number of own sends that a connection remembers, far more than it can have in progress.
const OWN_SENDS: usize = 256;

/// Number of a connection on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Sending side of a connection's queue.
#[derive(Debug)]
pub struct Outbound {
    id: ConnectionId,
    scope: Scope,
    framing: Framing,
    queue: mpsc::Sender<Queued>,
    receipts: Arc<Receipts>,
    counts: Arc<ConnectionCounts>,
    memory: Arc<Memory>,
    /// Memory account of the waiting frames.
    reader: Arc<Reader>,
    room: Notify,
    /// Wakes tasks that wait for their turn.
    taken: Arc<Notify>,
    pages: Arc<Semaphore>,
    history: Arc<Semaphore>,
    ending: Arc<Ending>,
    /// Sends whose acknowledgement is this connection's copy. The room's copy is left out.
    own_sends: Mutex<VecDeque<(SessionId, ClientId)>>,
    strangers: Strangers,
    liveness: Liveness,
}

/// Parts of the sending side of a connection.
pub struct OutboundParts {
    /// Number of the connection on this node.
    pub id: ConnectionId,
    /// The person whose token opened it. [`Outbound::new`] removes their grants: no event needs one.
    pub scope: Scope,
    /// Form of the frames.
    pub framing: Framing,
    /// Queue of frames, whose other end writes them.
    pub queue: mpsc::Sender<Queued>,
    /// Receives the delivered positions.
    pub receipts: Arc<Receipts>,
    /// Counters of connections.
    pub counts: Arc<ConnectionCounts>,
    /// Memory budget of all readers.
    pub memory: Arc<Memory>,
}

impl Outbound {
    /// Frames go to `queue`, whose other end writes them.
    pub fn new(parts: OutboundParts) -> Arc<Self> {
        let OutboundParts { id, scope, framing, queue, receipts, counts, memory } = parts;
        let ending = Arc::default();
        let reader = memory.reader(Account::User(scope.person().clone()), &ending);
        Arc::new(Self {
            id,
            scope: scope.without_grants(),
            framing,
            queue,
            receipts,
            counts,
            memory,
            reader,
            room: Notify::new(),
            taken: Arc::default(),
            pages: Arc::new(Semaphore::new(PAGES)),
            history: Arc::new(Semaphore::new(HISTORY)),
            ending,
            own_sends: Mutex::default(),
            strangers: Strangers::default(),
            liveness: Liveness::default(),
        })
    }

    /// Number of the connection on this node.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The person whose token opened it, without grants.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Sessions without presence events yet.
    pub fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Signs of life of the client.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// Format of its events.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Enqueues a broadcast, unless it is a copy of this connection's own send.
    pub fn push(&self, broadcast: &Arc<Broadcast>) {
        if !self.is_own(broadcast) && !self.is_cut_off() {
            if let Some(span) = broadcast.delivery_span() {
                span.enqueued();
            }
            self.enqueue(Frame::Broadcast(Arc::clone(broadcast)));
        }
    }

    /// Enqueues the answer to a request, and the client's position after it.
    pub fn answer(&self, id: u64, result: Result<&RawValue, &Error>, mark: Option<Mark>) {
        self.enqueue(Frame::Answer(self.framing.answer(id, result), mark));
    }

    /// Enqueues an event for this connection only.
    pub fn tell<E: Event>(&self, event: &E) {
        let data = serde_json::value::to_raw_value(event).unwrap_or_default();
        self.enqueue(Frame::Text(self.framing.push(E::NAME, &data)));
    }

    /// Enqueues the client's position, if the framing reports it.
    pub fn mark(&self, mark: Mark) {
        if self.framing == Framing::SocketIo {
            self.enqueue(Frame::Mark(mark));
        }
    }

    /// Queues a ping.
    pub fn ping(&self) {
        self.enqueue(Frame::Ping);
    }

    /// Enqueues a ping in addition to the framing's own.
    pub fn probe(&self) {
        self.enqueue(Frame::Probe);
    }

    /// Requires a sign of life from the client, as somebody depends on its presence.
    pub(crate) fn expect_life(&self) {
        self.liveness.expect();
    }

    /// Records a sign of life. The client has all messages written before.
    pub fn alive(&self) {
        for (session_id, seq) in self.liveness.alive() {
            self.receipts.delivered(session_id, &self.scope, seq);
        }
    }

    /// Enqueues a packet of the framing itself.
    pub fn control(&self, text: Utf8Bytes) {
        self.enqueue(Frame::Control(text));
    }

    fn enqueue(&self, frame: Frame) {
        let full = self.reader.bytes() > QUEUE_BYTES;
        let queued = self.charged(frame);
        if (full || self.queue.try_send(queued).is_err())
            && self.ending.close(CloseCode::SlowReader)
        {
            self.memory.counts().of_connection.inc();
        }
    }

    fn charged(&self, frame: Frame) -> Queued {
        let charge = self.reader.charge(frame.bytes());
        Queued::charged(frame, charge)
    }

    /// Waiting bytes, and the time since any were taken. `None` if nothing waits.
    pub fn waiting(&self) -> Option<(usize, Duration)> {
        self.reader.waiting()
    }

    /// Records a completed write.
    pub fn written(&self, mut written: Written) {
        // Before tasks are woken that check for room.
        drop(written.charge.take());
        self.counts.wrote(self.framing, written.frames, written.copies.len());
        self.counts.delivery.written(&written.copies);
        self.room.notify_one();
        self.taken.notify_waiters();
        // Messages by the person's own side are not deliveries from the other side.
        let is_theirs = |author: &Person| author.side != self.scope.side;
        written.delivered.retain(|(_, author, _)| author.as_ref().is_none_or(is_theirs));
        for (id, author, _) in &written.delivered {
            if let Some(author) = author {
                self.strangers.has_written(*id, author);
            }
        }
        let marks = written.delivered.iter().map(|(id, _, seq)| (*id, *seq));
        let marks = marks.filter(|(_, seq)| *seq > 0);
        self.liveness.written(marks, written.probe);
    }

    /// Whether too much is waiting for further requests.
    pub fn is_busy(&self) -> bool {
        self.reader.bytes() > BUSY_BYTES || self.queue.capacity() < QUEUE / 2
    }

    /// Resolves when something has been written since the last call.
    pub async fn until_written(&self) {
        self.room.notified().await;
    }

    pub(crate) fn tell_draining(&self, after: Duration) {
        let reconnect_after_ms = after.as_millis().try_into().unwrap_or(u64::MAX);
        self.tell(&ServerDraining { reconnect_after_ms });
    }

    /// Ends the connection. The first reason counts.
    pub fn close(&self, code: CloseCode) {
        self.ending.close(code);
    }

    /// Reason for the end of the connection, if it ends.
    pub fn closing(&self) -> Option<CloseCode> {
        self.ending.code()
    }

    /// Whether the connection ends at once to release memory.
    pub fn is_evicted(&self) -> bool {
        self.ending.is_evicted()
    }

    /// Whether the person is blocked. Then only answers to their own requests are sent.
    pub fn is_cut_off(&self) -> bool {
        self.closing() == Some(CloseCode::NotAllowed)
    }

    /// Resolves when the connection is to end.
    pub async fn until_closing(&self) -> CloseCode {
        self.ending.until().await
    }

    /// From now on the room's copy of this send is left out.
    pub fn remember_own(&self, session_id: SessionId, client_id: &ClientId) {
        let mut own_sends = self.own_sends();
        if own_sends.len() >= OWN_SENDS {
            own_sends.pop_front();
        }
        own_sends.push_back((session_id, client_id.clone()));
    }

    /// The send created no message, so no copy will come.
    pub fn forget_own(&self, session_id: SessionId, client_id: &ClientId) {
        self.take_own(session_id, client_id);
    }

    fn is_own(&self, broadcast: &Broadcast) -> bool {
        if broadcast.author() != Some(&self.scope) {
            return false;
        }
        match (&broadcast.room, broadcast.client_id()) {
            (Room::Session(key), Some(client_id)) => self.take_own(key.id, client_id),
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
