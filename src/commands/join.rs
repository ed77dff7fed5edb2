//! `session:join`: what came after `after`, then live, with no gap between and nothing twice.
//!
//! Law I5: the bus subscription stands before the history is read, and the history is read before
//! the answer is given. What is committed in between is found by reading on until the room has
//! nothing that was not read; only then does the connection hear it live.

use frontdesk_rooms::GoLive;
use serde::Serialize;

use super::{Done, to_raw};
use crate::{
    connection::Caller,
    error::Error,
    message::Message,
    session::{Session, SessionId},
    store::Span,
    wire::{
        Join,
        broadcast::{Broadcast, Room},
    },
};

/// How many rooms one connection may be in, its inbox among them.
const ROOMS_MAX: usize = 1_000;
/// How many messages an answer holds at most. With `after`, the rest follows as `message:new`.
const PAGE: u32 = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Joined<'a> {
    session: &'a Session,
    last_seq: u64,
    messages: &'a [Message],
}

pub(super) async fn run(caller: Caller, join: Join) -> Result<Done, Error> {
    let (app, me, conn) = (&caller.app, caller.person(), caller.conn());
    let session = app.store.session(me, join.session_id).await?.ok_or(Error::SessionNotFound)?;
    if app.hub.joined(conn) >= ROOMS_MAX {
        return Err(Error::Invalid(
            "sessionId",
            format!("{ROOMS_MAX} sessions are joined already"),
        ));
    }
    let room = Room::Session(session.id);
    app.hub.enter(&room, conn, session.last_seq).await;
    let history = async {
        let session = app.store.session(me, session.id).await?.ok_or(Error::SessionNotFound)?;
        let span = join.after.map_or(Span::Before(session.last_seq + 1), Span::After);
        let messages = app.store.history(me, session.id, span, PAGE).await?;
        Ok::<_, Error>((session, messages))
    };
    let (session, messages) = match history.await {
        Ok(read) => read,
        Err(error) => {
            app.hub.leave(&room, conn);
            return Err(error);
        }
    };
    let read_up_to = match (messages.last(), join.after) {
        (Some(last), _) => last.seq,
        // Whoever claims to have read beyond the end has read to the end.
        (None, Some(after)) => after.min(session.last_seq),
        (None, None) => session.last_seq,
    };
    let data =
        to_raw(&Joined { last_seq: session.last_seq, session: &session, messages: &messages });
    Ok(Done::Joined { data, session_id: session.id, read_up_to })
}

/// Reads on from where the answer ended, until nothing is missing, then hears the room live.
pub(crate) async fn go_live(
    caller: Caller,
    id: SessionId,
    mut read_up_to: u64,
) -> Result<Done, Error> {
    let (app, room) = (&caller.app, Room::Session(id));
    while let GoLive::Behind(_) = app.hub.go_live(&room, caller.conn(), read_up_to) {
        let missed =
            match app.store.history(caller.person(), id, Span::After(read_up_to), PAGE).await {
                Ok(missed) => missed,
                Err(error) => {
                    tracing::debug!(error = %error, "a join can't go on yet");
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                    continue;
                }
            };
        for message in missed {
            read_up_to = message.seq;
            if !caller.outbound.send(Broadcast::message_new(&message)).await {
                return Ok(Done::Silent);
            }
        }
    }
    Ok(Done::Silent)
}
