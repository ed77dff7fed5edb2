//! `session:join`: the messages after `after`, then live ones, without a gap or a repeat.
//!
//! Law I5: the bus subscription stands before the history is read, and the history is read before the
//! answer is sent. Messages committed in between are read until the room has none left that was not
//! read. Only then does the connection go live.

use std::{collections::BTreeSet, time::Duration};

use rooms::GoLive;
use tokio::time::sleep;

use super::{Reply, to_raw};
use crate::{Gateway, caller::Caller};
use bus::broadcast::{Broadcast, Room};
use chat::{
    joins::{JOINS_MAX, JoinNumber, Joins},
    outbound::Mark,
    reads::Operation,
    store::{Head, HistoryRange},
    strangers::OtherSide,
};
use db::StoreError;
use model::{
    ids::{EpochId, SessionId},
    scope::Scope,
    session::Session,
};
use protocol::{
    CloseCode, Join,
    answers::Joined,
    error::Error,
    offset::{Offset, ReceivedPosition},
};

/// Maximum number of messages in an answer. With `after`, the rest follows as `message:new`.
const PAGE: u32 = 100;
/// Pause of a catch-up that makes no progress.
const PAUSE: Duration = Duration::from_millis(500);

/// Progress of a join: it reads on from here.
#[derive(Debug)]
pub(crate) struct CatchUp {
    pub session_id: SessionId,
    /// The other side, while the session is open.
    pub other: Option<OtherSide>,
    pub number: JoinNumber,
    epoch: EpochId,
    /// Position before the first message of the answer.
    from: u64,
    read_up_to: u64,
    /// Later messages that the client already has.
    beyond: BTreeSet<u64>,
}

impl CatchUp {
    /// Marks the join as answered. Returns the client's positions before and after the answer, unless
    /// the join is overtaken.
    pub(crate) fn answered(&self, joins: &Joins) -> Option<(Mark, Mark)> {
        let Self { session_id, number, epoch, from, read_up_to, .. } = *self;
        joins.answered(session_id, number).then_some((
            Mark::Entered { session_id, epoch, up_to: from },
            Mark::UpTo { session_id, seq: read_up_to },
        ))
    }
}

/// A session that a client was in before, and of which it is still a member.
#[derive(Debug)]
pub(crate) struct Resumed {
    session_id: SessionId,
    other: Option<OtherSide>,
    position: ReceivedPosition,
    epoch: EpochId,
    last_seq: u64,
    rev: u64,
}

/// Sessions of an offset, or `None` if one of them cannot be resumed.
pub(crate) async fn look_up(
    gateway: &Gateway,
    me: &Scope,
    offset: Offset,
) -> Result<Option<Vec<Resumed>>, StoreError> {
    let _permit = gateway.chat.reads.permit_rest(Operation::Join, me).await;
    let mut resumed = Vec::new();
    for (session_id, position) in offset.positions {
        let Some(session) = gateway.chat.store.session(me, session_id).await? else {
            return Ok(None);
        };
        let Session { epoch, last_seq, rev, .. } = session;
        // Numbers of another epoch, or beyond the end, do not fit the session as it is.
        if epoch != offset.epoch || position.last() > last_seq {
            return Ok(None);
        }
        let other = OtherSide::of(&*gateway.chat.store, me, &session, &[]).await?;
        resumed.push(Resumed { session_id, other, position, epoch, last_seq, rev });
    }
    Ok(Some(resumed))
}

/// Resumes a session at the position of a reconnected client. The client's own join overtakes this.
pub(crate) fn resume(
    caller: Caller,
    resumed: Resumed,
) -> impl Future<Output = Result<Reply, Error>> + Send + use<> {
    let Resumed {
        session_id,
        other,
        position: ReceivedPosition { up_to, beyond },
        epoch,
        last_seq,
        rev,
    } = resumed;
    let begun = caller.joins.resume(session_id, up_to);
    caller.outbound.mark(Mark::Entered { session_id, epoch, up_to });
    for seq in &beyond {
        caller.outbound.mark(Mark::Has { session_id, seq: *seq });
    }
    async move {
        let Some(number) = begun else { return Ok(Reply::Silent) };
        let key = caller.scope().session(session_id);
        if caller.joins.is_current(session_id, number) {
            caller.gateway.chat.hub.enter_session(key, caller.conn(), last_seq, rev).await;
        }
        // The membership was checked before the connection was in the room, which the head check watches.
        if !is_member(&caller, session_id, number).await {
            caller.leave(session_id);
            caller.outbound.close(CloseCode::Draining);
            return Ok(Reply::Silent);
        }
        if let Some(other) = &other {
            caller.watch(session_id, number, other);
        }
        // Changes beside messages reach the client with the current session.
        caller.gateway.chat.inbox.changed(key);
        let (from, read_up_to) = (up_to, up_to);
        let catch_up = CatchUp { session_id, other, number, epoch, from, read_up_to, beyond };
        go_live(caller, catch_up).await
    }
}

/// Whether the caller is a member of a session that they resume, as far as it is still wanted. Tries until the
/// database answers.
async fn is_member(caller: &Caller, id: SessionId, number: JoinNumber) -> bool {
    let (chat, me) = (&caller.gateway.chat, caller.scope());
    while caller.joins.is_current(id, number) {
        let permit = chat.reads.permit_rest(Operation::CatchUp, me).await;
        let head = chat.store.head(me, id).await;
        drop(permit);
        match head {
            Ok(head) => return head.is_some() || !caller.joins.is_current(id, number),
            Err(error) => {
                Error::from(error).log_cause();
                sleep(PAUSE).await;
            }
        }
    }
    true
}

/// Registers the join at once, so that a leave or send right behind it finds it.
pub(super) fn start(
    caller: Caller,
    join: Join,
) -> impl Future<Output = Result<Reply, Error>> + Send + use<> {
    let id = join.session_id;
    let begun = caller.joins.begin(id);
    async move {
        let too_many = || {
            Error::invalid(
                "sessionId",
                format!("the connection has joined {JOINS_MAX} sessions already; leave one first"),
            )
        };
        let number = begun.ok_or_else(too_many)?;
        let joined = run(&caller, &join, number).await;
        if joined.is_err() && caller.joins.is_current(id, number) {
            caller.leave(id);
        }
        joined
    }
}

async fn run(caller: &Caller, join: &Join, number: JoinNumber) -> Result<Reply, Error> {
    let (gateway, me, id) = (&caller.gateway, caller.scope(), join.session_id);
    let mut turn = caller.outbound.page().await.ok_or(Error::Draining)?;
    let permit = gateway.chat.reads.permit(Operation::Join, me).await?;
    let (position, _) = gateway.chat.store.head(me, id).await?.ok_or(Error::SessionNotFound)?;
    // The bus may hang, which must not delay other reads.
    drop(permit);
    if caller.joins.is_current(id, number) {
        let Head { last_seq, rev, .. } = position;
        let joined_at =
            gateway.chat.hub.enter_session(me.session(id), caller.conn(), last_seq, rev).await;
        caller.joins.sent(id, joined_at.unwrap_or(0));
    }
    let permit = gateway.chat.reads.permit_rest(Operation::Join, me).await;
    let session = gateway.chat.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
    gateway.chat.people.shown(&session);
    let known = join.after.map(|after| caller.joins.beyond_resumed(id, after));
    turn.begin().await;
    let Begin { after, resync } = begin(gateway, me, &session, known, join.epoch).await?;
    let range = after.map_or(HistoryRange::Before(session.last_seq + 1), HistoryRange::After);
    // Most clients that come back have everything. Messages that are committed after `session` was read come live.
    let messages = if after.unwrap_or(0) >= session.last_seq {
        Vec::new()
    } else {
        gateway.chat.history(&permit, me, id, range, PAGE).await?
    };
    let read_up_to = match (messages.last(), after) {
        (Some(last), _) => last.seq,
        (None, Some(after)) => after,
        (None, None) => session.last_seq,
    };
    let from = messages.first().map_or(read_up_to, |first| first.seq.saturating_sub(1));
    let updated = match join.rev.filter(|_| !resync) {
        Some(rev) if rev >= session.rev => Some(Vec::new()),
        Some(rev) => Some(gateway.chat.changes(&permit, me, id, rev, PAGE).await?),
        None => None,
    };
    let other = OtherSide::of(&*gateway.chat.store, me, &session, &messages).await?;
    let Session { last_seq, epoch, .. } = session;
    let (session, messages) = (&session, messages.as_slice());
    let data = to_raw(&Joined { session, last_seq, epoch, messages, resync, updated });
    let beyond = BTreeSet::new();
    let catch_up = CatchUp { session_id: id, other, number, epoch, from, read_up_to, beyond };
    Ok(Reply::Joined { data, turn, catch_up })
}

/// Start of an answer.
struct Begin {
    /// Position to read after, or `None` for the latest page.
    after: Option<u64>,
    resync: bool,
}

/// A client without an epoch may have numbers from before a cut. For a while after a cut it receives
/// everything since then.
async fn begin(
    gateway: &Gateway,
    me: &Scope,
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
    let current = match gateway.chat.hub.epoch().filter(|checked| checked.id == session.epoch) {
        Some(checked) => checked,
        None => gateway.chat.store.epoch().await?,
    };
    let after = match current.recent_cut() {
        Some(cut) => gateway.chat.store.last_before(me, session.id, after, cut).await?,
        None => after,
    };
    Ok(Begin { after: Some(after), resync: false })
}

/// Reads on from the end of the answer until nothing is missing, then goes live. Ends early if the
/// client has left or joined anew.
pub(crate) async fn go_live(caller: Caller, catch_up: CatchUp) -> Result<Reply, Error> {
    let CatchUp { session_id: id, number, mut read_up_to, beyond, .. } = catch_up;
    let (gateway, me, room) =
        (&caller.gateway, caller.scope(), Room::Session(caller.scope().session(id)));
    // Messages in `beyond` are skipped here, so they must be read here and not received live.
    let at_least = beyond.last().copied().unwrap_or(0);
    while caller.joins.is_current(id, number)
        && (read_up_to < at_least
            || matches!(
                gateway.chat.hub.go_live(&room, caller.conn(), read_up_to),
                GoLive::Behind(_)
            ))
    {
        let Some(mut page) = caller.outbound.page().await else { return Ok(Reply::Silent) };
        let permit = gateway.chat.reads.permit_rest(Operation::CatchUp, me).await;
        page.begin().await;
        let missed =
            gateway.chat.history(&permit, me, id, HistoryRange::After(read_up_to), PAGE).await;
        // A slow reader must not delay others.
        drop(permit);
        let missed = match missed.inspect_err(Error::log_cause) {
            Ok(missed) if !missed.is_empty() => missed,
            _ => {
                drop(page);
                sleep(PAUSE).await;
                continue;
            }
        };
        page.made(chat::history::bytes(&missed));
        for message in missed {
            let Some(turn) = caller.outbound.history_turn().await else {
                return Ok(Reply::Silent);
            };
            if !caller.joins.is_current(id, number) {
                return Ok(Reply::Silent);
            }
            read_up_to = message.seq;
            caller.joins.sent(id, read_up_to);
            if !beyond.contains(&read_up_to) {
                turn.send(Broadcast::message_new(&message));
            }
        }
    }
    Ok(Reply::Silent)
}
