//! Write loop: passes queued frames to the socket, many in one write.

use std::{pin::pin, time::Duration};

use axum::extract::ws::Message;
use bytes::Bytes;
use futures_util::{Sink, SinkExt};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::websocket::close_frame;
use chat::{
    outbound::{Frame, Queued, Written},
    recovery::Recovery,
};
use protocol::{CloseCode, Framing};

/// Maximum number of frames in one write.
const BATCH: usize = 64;

/// Encoding of frames as messages of the socket.
pub(super) enum Encoding<'a> {
    Native,
    SocketIo(&'a mut Recovery),
}

fn native(frame: Frame) -> Message {
    match frame {
        Frame::Ping | Frame::Probe => Message::Ping(Bytes::new()),
        frame => Message::Text(frame.text(Framing::Native)),
    }
}

/// Runs until it has sent the close code received from `finish`, or the socket is gone.
///
/// `taken` is called after each completed write. `limit` is the time of a single write: a reader that takes
/// nothing for so long is dead. When a slow reader is closed, its frames are dropped, so that their
/// memory is free at once.
pub(super) async fn run(
    mut encoding: Encoding<'_>,
    taken: &(dyn Fn(Written) + Sync),
    queue: &mut mpsc::Receiver<Queued>,
    sink: &mut (impl Sink<Message, Error = axum::Error> + Unpin),
    mut finish: oneshot::Receiver<CloseCode>,
    limit: Duration,
) {
    // It grows with the frames: most connections say little.
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            code = &mut finish => {
                let Ok(code) = code else { return };
                return say_goodbye(&mut encoding, code, taken, queue, sink).await;
            }
            _ = queue.recv_many(&mut batch, BATCH) => {}
        }
        let written = Written::of(&mut batch);
        let outcome = {
            let mut write = pin!(timeout(limit, write(&mut encoding, &mut batch, sink)));
            tokio::select! {
                biased;
                outcome = &mut write => Ok((outcome, None)),
                code = &mut finish => match code {
                    Ok(CloseCode::SlowReader) => Err(CloseCode::SlowReader),
                    code => Ok((write.await, Some(code))),
                },
            }
        };
        match outcome {
            Ok((Ok(Ok(frames)), code)) => {
                taken(written.in_frames(frames));
                let Some(code) = code else { continue };
                let Ok(code) = code else { return };
                return say_goodbye(&mut encoding, code, taken, queue, sink).await;
            }
            Err(code) => {
                let _still_held = written.broken_off();
                return say_goodbye(&mut encoding, code, taken, queue, sink).await;
            }
            Ok(_) => return,
        }
    }
}

/// Writes a batch and returns the number of frames written.
async fn write(
    encoding: &mut Encoding<'_>,
    batch: &mut Vec<Queued>,
    sink: &mut (impl Sink<Message, Error = axum::Error> + Unpin),
) -> Result<usize, axum::Error> {
    let frames = match encoding {
        Encoding::Native => {
            let frames = batch.len();
            for queued in batch.drain(..) {
                sink.feed(native(queued.into_frame())).await?;
            }
            frames
        }
        Encoding::SocketIo(recovery) => {
            let texts = recovery.texts(batch.drain(..).map(Queued::into_frame));
            let frames = texts.len();
            for text in texts {
                sink.feed(Message::Text(text)).await?;
            }
            frames
        }
    };
    sink.flush().await.map(|()| frames)
}

/// Writes the remaining frames, then the close code.
async fn say_goodbye(
    encoding: &mut Encoding<'_>,
    code: CloseCode,
    taken: &(dyn Fn(Written) + Sync),
    queue: &mut mpsc::Receiver<Queued>,
    sink: &mut (impl Sink<Message, Error = axum::Error> + Unpin),
) {
    let mut rest = Vec::new();
    if code == CloseCode::SlowReader {
        // The queue accepts no further frames, and the waiting ones are dropped.
        queue.close();
    }
    while let Ok(queued) = queue.try_recv() {
        // A slow reader reads the missed messages with `after` when it reconnects.
        if code != CloseCode::SlowReader {
            rest.push(queued);
        }
    }
    let written = Written::of(&mut rest);
    if let Ok(frames) = write(encoding, &mut rest, sink).await {
        taken(written.in_frames(frames));
        // The peer may be gone already.
        drop(sink.send(close_frame(code)).await);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use tokio::task::yield_now;

    use super::*;
    use bus::{
        broadcast::{Broadcast, Room},
        delivery::Delivery,
    };
    use chat::outbound::Mark;
    use model::ids::{EpochId, SessionId, TenantId};
    use platform::new_id;

    #[tokio::test]
    async fn what_is_counted_is_what_was_written_and_the_last_words_too() {
        let session_id = SessionId(new_id());
        let new = br#"{"v":1,"event":"message:new","seq":4,"data":{}}"#;
        let new = Arc::new(
            Broadcast::from_bytes(Room::Session(TenantId::MAIN.session(session_id)), new).unwrap(),
        );
        Delivery::default().queued(&new);
        let (queue, mut frames) = mpsc::channel(8);
        let put = |frame: Frame| queue.try_send(frame.into()).unwrap();
        let epoch = EpochId(new_id());
        put(Frame::Mark(Mark::Entered { session_id, epoch, up_to: 3 }));
        put(Frame::Broadcast(Arc::clone(&new)));
        let counted = Mutex::new(Vec::new());
        let count = |written: Written| {
            counted.lock().unwrap().push((written.frames, written.copies.len()));
        };
        let mut sink = Vec::new().sink_map_err(|never: Infallible| match never {});
        let (mut recovery, (finish, finished)) = (Recovery::default(), oneshot::channel());
        let encoding = Encoding::SocketIo(&mut recovery);
        let limit = Duration::from_secs(5);
        let write = run(encoding, &count, &mut frames, &mut sink, finished, limit);
        let end = async {
            yield_now().await;
            put(Frame::Broadcast(new));
            finish.send(CloseCode::Bye).unwrap();
        };
        tokio::join!(write, end);
        // The client's position precedes the first message, and follows each write.
        assert_eq!(*counted.lock().unwrap(), [(3, 1), (2, 1)]);
        assert_eq!(sink.get_ref().len(), 3 + 2 + 1, "the close is none of them");
    }
}
