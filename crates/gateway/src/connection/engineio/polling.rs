//! HTTP transport of a session: a GET waits for packets to the client, a POST brings the client's.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout};

use super::{EngineSession, Inbound, Outgoing};
use chat::outbound::{Frame, Queued, Written};
use protocol::{
    CloseCode,
    engineio::{self, Packets, TooLarge},
};

/// Maximum number of packets per poll. Python's client takes no more, and would reconnect for ever.
const PACKETS_MAX: usize = 16;
/// Bytes at which a poll takes no more packets. The rest goes with the next poll.
const BATCH_BYTES: usize = 256 * 1024;

/// Maximum body of a POST in bytes, as in the reference server.
const POST_MAX: usize = 1_000_000;

/// Request that the session cannot accept now. A second concurrent one ends the session.
#[derive(Debug)]
pub(crate) struct BadRequest;

/// Reason why a POST was not accepted completely.
#[derive(Debug)]
pub(crate) enum PostError {
    BadRequest,
    TooLarge,
    TooSlow,
}

impl From<BadRequest> for PostError {
    fn from(_: BadRequest) -> Self {
        Self::BadRequest
    }
}

impl From<TooLarge> for PostError {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}

/// Permission for one request of its kind at a time.
struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    fn take(taken: &'a AtomicBool) -> Option<Self> {
        (!taken.swap(true, Ordering::SeqCst)).then_some(Self(taken))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Waits until there are packets for the client.
pub(crate) async fn poll(session: &EngineSession) -> Result<String, BadRequest> {
    let Some(_turn) = Turn::take(&session.polling) else { return end(session).await };
    if session.is_on_websocket() {
        return Err(BadRequest);
    }
    // A poll shows that the client has the answer to the previous one.
    session.alive();
    let mut outgoing = session.outgoing.lock().await;
    let Outgoing { frames, recovery } = &mut *outgoing;
    let mut probing = session.probing.subscribe();
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            first = frames.recv() => {
                let Some(first) = first else { return Ok(engineio::CLOSE.to_owned()) };
                let (mut bytes, mut packets) = (first.frame().bytes(), first.frame().packets());
                batch.push(first);
                // One packet is reserved for the client's position.
                while bytes < BATCH_BYTES && packets < PACKETS_MAX - 1 {
                    let Ok(next) = frames.try_recv() else { break };
                    bytes += next.frame().bytes();
                    packets += next.frame().packets();
                    batch.push(next);
                }
            }
            _ = session.until_ended() => {
                session.told.notify_one();
                return Ok(engineio::CLOSE.to_owned());
            }
            _ = probing.wait_for(|probing| *probing) => return Ok(engineio::NOOP.to_owned()),
        }
        let written = Written::of(&mut batch);
        let frames = batch.drain(..).map(Queued::into_frame);
        let mut packets = recovery.texts(frames.filter(|frame| !matches!(frame, Frame::Probe)));
        if packets.is_empty() && written.probe && session.waits_for_life() {
            packets.push(engineio::PING);
        }
        session.written(written.in_frames(packets.len()));
        // There may be nothing to send, if a mark did not change the position.
        if !packets.is_empty() {
            return Ok(engineio::join(&packets));
        }
    }
}

/// Receives a client's packets as they arrive. `limit` is the time for the whole body.
pub(crate) async fn post(
    session: &EngineSession,
    body: Body,
    limit: Duration,
) -> Result<(), PostError> {
    let Some(_turn) = Turn::take(&session.posting) else { return Ok(end(session).await?) };
    if session.is_on_websocket() {
        return Err(PostError::BadRequest);
    }
    let mut pieces = Pieces { body: body.into_data_stream(), limit };
    let taken = take(session, &mut pieces).await;
    if matches!(taken, Err(PostError::TooLarge)) {
        // Some clients would send nothing more and continue polling. This close code makes them reconnect.
        session.receive(Inbound::Bad(CloseCode::TooBig)).await;
        // The client reads the response only after it has written the whole body.
        while let Ok(Some(_)) = pieces.next().await {}
    }
    taken
}

async fn take(session: &EngineSession, pieces: &mut Pieces) -> Result<(), PostError> {
    if pieces.body.size_hint().0 > POST_MAX {
        return Err(PostError::TooLarge);
    }
    let (mut packets, mut size) = (Packets::default(), 0);
    while let Some(piece) = pieces.next().await? {
        size += piece.len();
        if size > POST_MAX {
            return Err(PostError::TooLarge);
        }
        let mut piece = &piece[..];
        while let Some(packet) = packets.take(&mut piece)? {
            receive(session, packet).await?;
        }
    }
    Ok(receive(session, packets.end()).await?)
}

/// Body as it arrives.
struct Pieces {
    body: BodyDataStream,
    /// Time for which it may still keep the server waiting.
    limit: Duration,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, PostError> {
        let waiting = Instant::now();
        let piece = timeout(self.limit, self.body.next()).await;
        self.limit = self.limit.saturating_sub(waiting.elapsed());
        let piece = piece.map_err(|_| PostError::TooSlow)?;
        piece.transpose().map_err(|_| PostError::BadRequest)
    }
}

async fn receive(session: &EngineSession, packet: Vec<u8>) -> Result<(), BadRequest> {
    let Ok(packet) = String::from_utf8(packet) else { return end(session).await };
    if session.receive_text(&packet).await { Ok(()) } else { Err(BadRequest) }
}

/// Ends the session, as the reference server does: a client with two concurrent requests of one kind, or
/// with packets that are not text, is broken.
async fn end<T>(session: &EngineSession) -> Result<T, BadRequest> {
    session.receive(Inbound::Bad(CloseCode::BadFrame)).await;
    Err(BadRequest)
}
