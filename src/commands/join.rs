//! `session:join`: what came after `after`, then live, with no gap between and nothing twice.
//!
//! Law I5: the bus subscription stands before the history is read, and the history is read before
//! the answer is given. What is committed in between is found by reading on until the room has
//! nothing that was not read; only then does the connection hear it live.

use std::{collections::BTreeSet, time::Duration};

use frontdesk_rooms::GoLive;
use serde::Serialize;
use tokio::time::sleep;
use utoipa::ToSchema;

use super::{Done, history, to_raw};
use crate::{
    app::App,
    connection::{
        Caller,
        joins::{JOINS_MAX, JoinNumber, Joins},
        recovery::Mark,
        strangers::OtherSide,
    },
    error::Error,
    limits::reads::Operation,
    message::Message,
    person::Person,
    session::{EpochId, Session, SessionId},
    store::{Head, Span, StoreError},
    wire::{
        Join,
        broadcast::{Broadcast, Room},
        offset::{Offset, Place},
    },
};

/// How many messages an answer holds at most. With `after`, the rest follows as `message:new`.
const PAGE: u32 = 100;
/// How soon a catching-up that makes no progress goes on.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Joined<'a> {
    session: &'a Session,
    last_seq: u64,
    /// The epoch in which these numbers count: the next join brings it along.
    epoch: EpochId,
    messages: &'a [Message],
    /// The client's positions are of another epoch, or beyond the end. `messages` is the latest page, in
    /// place of everything that the client has of the session.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    resync: bool,
    /// Changes since the revision that the client knows. Not with `resync`.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<Vec<Message>>,
}

/// How far a join has come: it reads on from here.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) session_id: SessionId,
    /// Who is on the other side, while the session is open.
    pub(crate) other: Option<OtherSide>,
    pub(crate) number: JoinNumber,
    epoch: EpochId,
    /// Where the answer begins.
    from: u64,
    read_up_to: u64,
    /// What the client has of the rest.
    beyond: BTreeSet<u64>,
}

impl At {
    /// The join is being answered: what the client has before it and behind it, if it still counts.
    pub(crate) fn answered(&self, joins: &Joins) -> Option<(Mark, Mark)> {
        let Self { session_id, number, epoch, from, read_up_to, .. } = *self;
        joins.answered(session_id, number).then_some((
            Mark::Entered { session_id, epoch, up_to: from },
            Mark::UpTo { session_id, seq: read_up_to },
        ))
    }
}

/// A session that a client was in before, and is a member of still.
#[derive(Debug)]
pub(crate) struct Resumed {
    session_id: SessionId,
    other: Option<OtherSide>,
    place: Place,
    epoch: EpochId,
    last_seq: u64,
    rev: u64,
}

/// The sessions of an offset, if the client can be brought back to all of them.
pub(crate) async fn look_up(
    app: &App,
    me: &Person,
    offset: Offset,
) -> Result<Option<Vec<Resumed>>, StoreError> {
    let _permit = app.reads.permit_rest(Operation::Join, me).await;
    let mut resumed = Vec::new();
    for (session_id, place) in offset.places {
        let Some(session) = app.store.session(me, session_id).await? else { return Ok(None) };
        let Session { epoch, last_seq, rev, .. } = session;
        // Numbers of another epoch, or beyond the end, say nothing about the session as it is.
        if epoch != offset.epoch || place.last() > last_seq {
            return Ok(None);
        }
        let other = OtherSide::of(&*app.store, me, &session, &[]).await?;
        resumed.push(Resumed { session_id, other, place, epoch, last_seq, rev });
    }
    Ok(Some(resumed))
}

/// Lets a client that has come back hear a session from where it was. A join of its own overtakes
/// this.
pub(crate) fn resume(
    caller: Caller,
    resumed: Resumed,
) -> impl Future<Output = Result<Done, Error>> + Send + use<> {
    let Resumed { session_id, other, place: Place { up_to, beyond }, epoch, last_seq, rev } =
        resumed;
    let begun = caller.joins.resume(session_id, up_to);
    caller.outbound.mark(Mark::Entered { session_id, epoch, up_to });
    for seq in &beyond {
        caller.outbound.mark(Mark::Has { session_id, seq: *seq });
    }
    async move {
        let Some(number) = begun else { return Ok(Done::Silent) };
        if caller.joins.is_current(session_id, number) {
            caller.app.hub.enter_session(session_id, caller.conn(), last_seq, rev).await;
        }
        if let Some(other) = &other {
            caller.watch(session_id, number, other);
        }
        // What changed beside messages it hears from the session as it is now.
        caller.app.inbox.changed(session_id);
        let (from, read_up_to) = (up_to, up_to);
        let at = At { session_id, other, number, epoch, from, read_up_to, beyond };
        go_live(caller, at).await
    }
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
            caller.leave(id);
        }
        joined
    }
}

async fn run(caller: &Caller, join: &Join, number: JoinNumber) -> Result<Done, Error> {
    let (app, me, id) = (&caller.app, caller.person(), join.session_id);
    let mut turn = caller.outbound.page().await.ok_or(Error::Draining)?;
    let permit = app.reads.permit(Operation::Join, me).await?;
    let (position, _) = app.store.head(me, id).await?.ok_or(Error::SessionNotFound)?;
    // The bus may hang, which holds up no other read.
    drop(permit);
    if caller.joins.is_current(id, number) {
        let Head { last_seq, rev, .. } = position;
        let heard = app.hub.enter_session(id, caller.conn(), last_seq, rev).await;
        caller.joins.sent(id, heard.unwrap_or(0));
    }
    let permit = app.reads.permit_rest(Operation::Join, me).await;
    let session = app.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
    app.people.shown(&session);
    let known = join.after.map(|after| caller.joins.beyond_resumed(id, after));
    turn.begin().await;
    let Begin { after, resync } = begin(app, me, &session, known, join.epoch).await?;
    let span = after.map_or(Span::Before(session.last_seq + 1), Span::After);
    let messages = history::page(&permit, app, me, id, span, PAGE).await?;
    let read_up_to = match (messages.last(), after) {
        (Some(last), _) => last.seq,
        (None, Some(after)) => after,
        (None, None) => session.last_seq,
    };
    let from = messages.first().map_or(read_up_to, |first| first.seq.saturating_sub(1));
    let updated = match join.rev.filter(|_| !resync) {
        Some(rev) => Some(history::changes(&permit, app, me, id, rev, PAGE).await?),
        None => None,
    };
    let other = OtherSide::of(&*app.store, me, &session, &messages).await?;
    let Session { last_seq, epoch, .. } = session;
    let (session, messages) = (&session, messages.as_slice());
    let data = to_raw(&Joined { session, last_seq, epoch, messages, resync, updated });
    let beyond = BTreeSet::new();
    let at = At { session_id: id, other, number, epoch, from, read_up_to, beyond };
    Ok(Done::Joined { data, turn, at })
}

/// The beginning of an answer.
struct Begin {
    /// Messages after this one; `None` for the latest page.
    after: Option<u64>,
    resync: bool,
}

/// A client that knows of no epoch may have numbers from before a cut. For a while after one it is sent
/// everything since then.
async fn begin(
    app: &App,
    me: &Person,
    session: &Session,
    known: Option<u64>,
    epoch: Option<EpochId>,
) -> Result<Begin, StoreError> {
    let is_old = epoch.is_some_and(|epoch| epoch != session.epoch);
    if is_old || known.is_some_and(|after| after > session.last_seq) {
        return Ok(Begin { after: None, resync: true });
    }
    let Some(after) = known.filter(|_| epoch.is_none()) else {
        return Ok(Begin { after: known, resync: false });
    };
    let current = match app.hub.epoch().filter(|checked| checked.id == session.epoch) {
        Some(checked) => checked,
        None => app.store.epoch().await?,
    };
    let after = match current.recent_cut() {
        Some(cut) => app.store.last_before(me, session.id, after, cut).await?,
        None => after,
    };
    Ok(Begin { after: Some(after), resync: false })
}

/// Reads on from where the answer ended, until nothing is missing, then hears the room live. Ends
/// where the client has left or joined anew meanwhile.
pub(crate) async fn go_live(caller: Caller, at: At) -> Result<Done, Error> {
    let At { session_id: id, number, mut read_up_to, beyond, .. } = at;
    let (app, me, room) = (&caller.app, caller.person(), Room::Session(id));
    // What the client has beyond is left out here, so it must be read here, not heard live.
    let at_least = beyond.last().copied().unwrap_or(0);
    while caller.joins.is_current(id, number)
        && (read_up_to < at_least
            || matches!(app.hub.go_live(&room, caller.conn(), read_up_to), GoLive::Behind(_)))
    {
        let Some(mut page) = caller.outbound.page().await else { return Ok(Done::Silent) };
        let permit = app.reads.permit_rest(Operation::CatchUp, me).await;
        page.begin().await;
        let missed = history::page(&permit, app, me, id, Span::After(read_up_to), PAGE).await;
        // The reader's pace is nobody else's.
        drop(permit);
        let missed = match missed {
            Ok(missed) if !missed.is_empty() => missed,
            _ => {
                drop(page);
                sleep(PAUSE).await;
                continue;
            }
        };
        page.made(history::bytes(&missed));
        for message in missed {
            let Some(turn) = caller.outbound.history_turn().await else {
                return Ok(Done::Silent);
            };
            if !caller.joins.is_current(id, number) {
                return Ok(Done::Silent);
            }
            read_up_to = message.seq;
            caller.joins.sent(id, read_up_to);
            if !beyond.contains(&read_up_to) {
                turn.send(Broadcast::message_new(&message));
            }
        }
    }
    Ok(Done::Silent)
}
