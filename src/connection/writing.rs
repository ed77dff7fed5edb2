//! The write loop: takes what is queued and hands it to the socket, many frames in one write.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::{SinkExt, stream::SplitSink};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    outbound::{Frame, Written},
    recovery::Recovery,
    websocket::close_frame,
};
use crate::wire::{CloseCode, Framing};

type Sink = SplitSink<WebSocket, Message>;

/// Frames that go into one write at most.
const BATCH: usize = 64;

/// How frames become messages of the socket.
pub(super) enum Encoding<'a> {
    Native,
    SocketIo(&'a mut Recovery),
}

fn native(frame: &Frame) -> Message {
    match frame {
        Frame::Ping => Message::Ping(Bytes::new()),
        frame => Message::Text(frame.text(Framing::Native)),
    }
}

/// Ends when it has said why the connection ends, which `finish` tells it, or the socket is gone.
///
/// `taken` hears what the socket has taken. `patience` is how long one write may take: a reader that
/// takes nothing for so long is dead.
pub(super) async fn run(
    mut encoding: Encoding<'_>,
    taken: &(dyn Fn(&Written) + Sync),
    queue: &mut mpsc::Receiver<Frame>,
    sink: &mut Sink,
    mut finish: oneshot::Receiver<CloseCode>,
    patience: Duration,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            code = &mut finish => {
                let Ok(code) = code else { return };
                return say_goodbye(&mut encoding, code, queue, sink).await;
            }
            _ = queue.recv_many(&mut batch, BATCH) => {}
        }
        let written = Written::of(&batch);
        if !matches!(timeout(patience, write(&mut encoding, &mut batch, sink)).await, Ok(Ok(()))) {
            return;
        }
        taken(&written);
    }
}

async fn write(
    encoding: &mut Encoding<'_>,
    batch: &mut Vec<Frame>,
    sink: &mut Sink,
) -> Result<(), axum::Error> {
    match encoding {
        Encoding::Native => {
            for frame in batch.drain(..) {
                sink.feed(native(&frame)).await?;
            }
        }
        Encoding::SocketIo(recovery) => {
            for text in recovery.texts(batch.drain(..)) {
                sink.feed(Message::Text(text)).await?;
            }
        }
    }
    sink.flush().await
}

/// Says what is still to be said, then why it ends.
async fn say_goodbye(
    encoding: &mut Encoding<'_>,
    code: CloseCode,
    queue: &mut mpsc::Receiver<Frame>,
    sink: &mut Sink,
) {
    let mut rest = Vec::new();
    // A slow reader has had its chance; it finds what it missed with `after`.
    while code != CloseCode::SlowReader
        && let Ok(frame) = queue.try_recv()
    {
        rest.push(frame);
    }
    if write(encoding, &mut rest, sink).await.is_ok() {
        // A peer that is gone needs no goodbye.
        drop(sink.send(close_frame(code)).await);
    }
}
