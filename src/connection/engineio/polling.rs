//! The session carried by HTTP: a GET waits for what the server says, a POST brings what the client
//! says.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Inbound, Outgoing, Session};
use crate::{
    connection::outbound::{Frame, Queued, Written},
    wire::{CloseCode, engineio},
};

/// How many packets one poll brings at most.
const BATCH: usize = 64;
/// How many bytes, with one packet more: what is left goes with the next poll.
const BATCH_BYTES: usize = 256 * 1024;

/// A request that this session can't take now; a second one at a time ends it.
#[derive(Debug)]
pub(crate) struct BadRequest;

/// One request of its kind at a time.
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

/// Waits until there is something for the client.
pub(crate) async fn poll(session: &Session) -> Result<String, BadRequest> {
    let Some(_turn) = Turn::take(&session.polling) else { return overlap(session).await };
    if session.is_on_websocket() {
        return Err(BadRequest);
    }
    // It comes behind the answer to the last one.
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
                let mut bytes = first.frame.bytes();
                batch.push(first);
                while bytes < BATCH_BYTES && batch.len() < BATCH {
                    let Ok(next) = frames.try_recv() else { break };
                    bytes += next.frame.bytes();
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
        let frames = batch.drain(..).map(|Queued { frame, .. }| frame);
        let mut packets = recovery.texts(frames.filter(|frame| !matches!(frame, Frame::Probe)));
        if packets.is_empty() && written.probe && session.waits_for_life() {
            packets.push(engineio::PING);
        }
        session.written(written.in_frames(packets.len()));
        // There may be nothing to say: what was noted changes nothing.
        if !packets.is_empty() {
            return Ok(engineio::join(&packets));
        }
    }
}

/// Takes in what a client says.
pub(crate) async fn post(session: &Session, body: &str) -> Result<(), BadRequest> {
    let Some(_turn) = Turn::take(&session.posting) else { return overlap(session).await };
    if session.is_on_websocket() {
        return Err(BadRequest);
    }
    for packet in engineio::split(body) {
        if !session.receive_text(packet).await {
            return Err(BadRequest);
        }
    }
    Ok(())
}

/// As the reference server does: a client that polls twice at once has lost its way.
async fn overlap<T>(session: &Session) -> Result<T, BadRequest> {
    session.receive(Inbound::Bad(CloseCode::BadFrame)).await;
    Err(BadRequest)
}
