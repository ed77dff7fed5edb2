//! Outbound queue of a connection. It is bounded, and nothing waits for it.
//!
//! Law I8: a full queue closes its connection as a slow reader. The client reconnects with `after` and
//! misses nothing. Other connections are unaffected. Waiting frames are charged to their person and the
//! node ([`crate::memory`]).

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

use super::{recovery::Mark, strangers::Strangers};
use crate::{
    connection::counts::ConnectionCounts,
    error::Error,
    limits::Account,
    memory::{Ending, Memory, Reader},
    message::ClientId,
    person::Person,
    receipts::Receipts,
    session::SessionId,
    wire::{
        CloseCode, Framing,
        broadcast::{Broadcast, Room},
        told::{Event, ServerDraining},
    },
};

pub(crate) use frame::{Frame, Queued};
use liveness::Liveness;
pub(crate) use liveness::Next;
pub(crate) use turns::PageTurn;
pub(crate) use written::Written;

/// Maximum number of waiting frames.
pub(crate) const QUEUE: usize = 256;
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
pub(crate) struct ConnectionId(pub(crate) u64);

/// Sending side of a connection's queue.
#[derive(Debug)]
pub(crate) struct Outbound {
    id: ConnectionId,
    person: Person,
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

impl Outbound {
    /// Frames go to `queue`, whose other end writes them.
    pub(crate) fn new(
        id: ConnectionId,
        person: Person,
        framing: Framing,
        queue: mpsc::Sender<Queued>,
        receipts: Arc<Receipts>,
        counts: Arc<ConnectionCounts>,
        memory: &Arc<Memory>,
    ) -> Arc<Self> {
        let ending = Arc::default();
        let reader = memory.reader(Account::User(person.clone()), &ending);
        Arc::new(Self {
            id,
            person,
            framing,
            queue,
            receipts,
            counts,
            memory: Arc::clone(memory),
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

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn person(&self) -> &Person {
        &self.person
    }

    pub(crate) fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    pub(crate) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Enqueues a broadcast, unless it is a copy of this connection's own send.
    pub(crate) fn push(&self, broadcast: &Arc<Broadcast>) {
        if !self.is_own(broadcast) && !self.is_cut_off() {
            if let Some(span) = broadcast.delivery_span() {
                span.enqueued();
            }
            self.enqueue(Frame::Broadcast(Arc::clone(broadcast)));
        }
    }

    /// Enqueues the answer to a request, and the client's position after it.
    pub(crate) fn answer(&self, id: u64, result: Result<&RawValue, &Error>, mark: Option<Mark>) {
        self.enqueue(Frame::Answer(self.framing.answer(id, result), mark));
    }

    /// Enqueues an event for this connection only.
    pub(crate) fn tell<E: Event>(&self, event: &E) {
        let data = serde_json::value::to_raw_value(event).unwrap_or_default();
        self.enqueue(Frame::Text(self.framing.push(E::NAME, &data)));
    }

    /// Enqueues the client's position, if the framing reports it.
    pub(crate) fn mark(&self, mark: Mark) {
        if self.framing == Framing::SocketIo {
            self.enqueue(Frame::Mark(mark));
        }
    }

    pub(crate) fn ping(&self) {
        self.enqueue(Frame::Ping);
    }

    /// Enqueues a ping in addition to the framing's own.
    pub(crate) fn probe(&self) {
        self.enqueue(Frame::Probe);
    }

    /// Requires a sign of life from the client, as somebody depends on its presence.
    pub(crate) fn expect_life(&self) {
        self.liveness.expect();
    }

    /// Records a sign of life. The client has all messages written before.
    pub(crate) fn alive(&self) {
        for (session_id, seq) in self.liveness.alive() {
            self.receipts.delivered(session_id, &self.person, seq);
        }
    }

    /// Enqueues a packet of the framing itself.
    pub(crate) fn control(&self, text: Utf8Bytes) {
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
        Queued { charge: Some(self.reader.charge(frame.bytes())), frame }
    }

    /// Waiting bytes, and the time since any were taken. `None` if nothing waits.
    pub(crate) fn waiting(&self) -> Option<(usize, Duration)> {
        self.reader.waiting()
    }

    /// Records a completed write.
    pub(crate) fn written(&self, mut written: Written) {
        // Before tasks are woken that check for room.
        drop(written.charge.take());
        self.counts.wrote(self.framing, written.frames, written.copies.len());
        self.counts.delivery.written(&written.copies);
        self.room.notify_one();
        self.taken.notify_waiters();
        // Messages by the person's own side are not deliveries from the other side.
        written.delivered.retain(|(_, author, _)| *author != Some(self.person.kind));
        for (id, author, _) in &written.delivered {
            if author.is_some() {
                self.strangers.heard(*id);
            }
        }
        let marks = written.delivered.iter().map(|(id, _, seq)| (*id, *seq));
        let marks = marks.filter(|(_, seq)| *seq > 0);
        self.liveness.written(marks, written.probe);
    }

    /// Whether too much is waiting for further requests.
    pub(crate) fn is_busy(&self) -> bool {
        self.reader.bytes() > BUSY_BYTES || self.queue.capacity() < QUEUE / 2
    }

    /// Resolves when something has been written since the last call.
    pub(crate) async fn until_written(&self) {
        self.room.notified().await;
    }

    pub(crate) fn tell_draining(&self, after: Duration) {
        let reconnect_after_ms = after.as_millis().try_into().unwrap_or(u64::MAX);
        self.tell(&ServerDraining { reconnect_after_ms });
    }

    /// Ends the connection. The first reason counts.
    pub(crate) fn close(&self, code: CloseCode) {
        self.ending.close(code);
    }

    /// Reason for the end of the connection, if it ends.
    pub(crate) fn closing(&self) -> Option<CloseCode> {
        self.ending.code()
    }

    /// Whether the connection ends at once to release memory.
    pub(crate) fn is_evicted(&self) -> bool {
        self.ending.is_evicted()
    }

    /// Whether the person is blocked. Then only answers to their own requests are sent.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.closing() == Some(CloseCode::NotAllowed)
    }

    /// Resolves when the connection is to end.
    pub(crate) async fn until_closing(&self) -> CloseCode {
        self.ending.until().await
    }

    /// From now on the room's copy of this send is left out.
    pub(crate) fn remember_own(&self, session_id: SessionId, client_id: &ClientId) {
        let mut own_sends = self.own_sends();
        if own_sends.len() >= OWN_SENDS {
            own_sends.pop_front();
        }
        own_sends.push_back((session_id, client_id.clone()));
    }

    /// The send created no message, so no copy will come.
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
