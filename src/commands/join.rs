//! `session:join`: what came after `after`, then live, with no gap between and nothing twice.
//!
//! Law I5: the bus subscription stands before the history is read, and the history is read before
//! the answer is given. What is committed in between is found by reading on until the room has
//! nothing that was not read; only then does the connection hear it live.

use std::time::Duration;

use frontdesk_rooms::GoLive;
use serde::Serialize;
use tokio::time::sleep;

use super::{Done, history, to_raw};
use crate::{
    connection::{
        Caller,
        joins::{JOINS_MAX, JoinNumber},
    },
    error::Error,
    message::Message,
    session::{Session, SessionId},
    store::Span,
    wire::{
        Join,
        broadcast::{Broadcast, Room},
    },
};

/// How many messages an answer holds at most. With `after`, the rest follows as `message:new`.
const PAGE: u32 = 100;
/// How soon a catching-up that makes no progress goes on.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Joined<'a> {
    session: &'a Session,
    last_seq: u64,
    messages: &'a [Message],
}

/// How far a join has come: it reads on from here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    session_id: SessionId,
    number: JoinNumber,
    read_up_to: u64,
}

/// Notes the join at once, so that a leave or a send right behind it finds it.
pub(super) fn start(
    caller: Caller,
    join: Join,
) -> impl Future<Output = Result<Done, Error>> + Send + use<> {
    let id = join.session_id;
    let begun = caller.joins.begin(id);
    async move {
        let too_many =
            || Error::invalid("sessionId", format!("{JOINS_MAX} sessions are joined already"));
        let number = begun.ok_or_else(too_many)?;
        let joined = run(&caller, &join, number).await;
        if joined.is_err() && caller.joins.is_current(id, number) {
            caller.joins.end(id);
            caller.app.hub.leave(&Room::Session(id), caller.conn());
        }
        joined
    }
}

async fn run(caller: &Caller, join: &Join, number: JoinNumber) -> Result<Done, Error> {
    let (app, me, id) = (&caller.app, caller.person(), join.session_id);
    let session = app.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
    if caller.joins.is_current(id, number) {
        app.hub.enter(&Room::Session(id), caller.conn(), session.last_seq).await;
    }
    let session = app.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
    let span = join.after.map_or(Span::Before(session.last_seq + 1), Span::After);
    let messages = history::page(app, me, id, span, PAGE).await?;
    let read_up_to = match (messages.last(), join.after) {
        (Some(last), _) => last.seq,
        // Whoever claims to have read beyond the end has read to the end.
        (None, Some(after)) => after.min(session.last_seq),
        (None, None) => session.last_seq,
    };
    let data =
        to_raw(&Joined { last_seq: session.last_seq, session: &session, messages: &messages });
    Ok(Done::Joined { data, at: At { session_id: id, number, read_up_to } })
}

/// Reads on from where the answer ended, until nothing is missing, then hears the room live. Ends
/// where the client has left or joined anew meanwhile.
pub(crate) async fn go_live(caller: Caller, at: At) -> Result<Done, Error> {
    let At { session_id: id, number, mut read_up_to } = at;
    let (app, me, room) = (&caller.app, caller.person(), Room::Session(id));
    while caller.joins.is_current(id, number)
        && let GoLive::Behind(_) = app.hub.go_live(&room, caller.conn(), read_up_to)
    {
        let missed = match history::page(app, me, id, Span::After(read_up_to), PAGE).await {
            Ok(missed) if !missed.is_empty() => missed,
            _ => {
                sleep(PAUSE).await;
                continue;
            }
        };
        for message in missed {
            if !caller.joins.is_current(id, number) {
                return Ok(Done::Silent);
            }
            read_up_to = message.seq;
            if !caller.outbound.send(Broadcast::message_new(&message)).await {
                return Ok(Done::Silent);
            }
        }
    }
    Ok(Done::Silent)
}
