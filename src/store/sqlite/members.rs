//! Members: status, marks, and the times when they were last seen.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{numbered, position, rows, writes::begin};
use crate::{
    person::{Person, PersonKind},
    session::{EpochId, Session, SessionId, SessionStatus},
    store::{Delivered, DeliveryMarks, Head, Listed, ReadMark, SessionPage, Set, Setting, sql},
};

pub(super) fn head(
    db: &Connection,
    me: &Person,
    id: SessionId,
) -> rusqlite::Result<Option<(Head, EpochId)>> {
    let mut statement = db.prepare_cached(&numbered(sql::HEAD))?;
    let params = params![me.kind.as_str(), me.id.as_str(), id.0.to_string()];
    let head = statement.query_row(params, |row| Ok((rows::head(row)?, rows::epoch(row)?)));
    head.optional()
}

pub(super) fn sessions(
    db: &Connection,
    me: &Person,
    page: &SessionPage,
) -> rusqlite::Result<Listed> {
    let (active_at, id) = page.after.unwrap_or((Timestamp::MAX, SessionId(Uuid::max())));
    let mut statement = db.prepare_cached(&numbered(sql::SESSIONS))?;
    let params = params![
        me.kind.as_str(),
        me.id.as_str(),
        page.status.map_or("", |status| status.as_str()),
        active_at.as_microsecond(),
        id.0.to_string(),
        page.limit,
        page.since.unwrap_or(Timestamp::UNIX_EPOCH).as_microsecond(),
    ];
    let rows = statement
        .query_map(params, |row| Ok((rows::seq(row, "listed")?, rows::session(row)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let listed = rows.first().map_or(0, |(listed, _)| *listed);
    let sessions: Vec<_> = rows.into_iter().map(|(_, session)| session).collect();
    Ok(Listed { is_cut: listed > sessions.len() as u64, sessions })
}

pub(super) fn unread(db: &Connection, me: &Person) -> rusqlite::Result<Vec<(SessionId, u64)>> {
    let mut statement = db.prepare_cached(&numbered(sql::UNREAD))?;
    let params = params![me.kind.as_str(), me.id.as_str()];
    let unread = statement.query_map(params, rows::numbered_session)?;
    let unread = unread.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(unread.into_iter().filter(|(_, count)| *count > 0).collect())
}

pub(super) fn heads(db: &Connection, ids: &[SessionId]) -> rusqlite::Result<Vec<Head>> {
    let mut statement =
        db.prepare_cached("select id, last_seq, rev from sessions where id = ?1")?;
    let heads = ids.iter().map(|id| statement.query_row([id.0.to_string()], rows::head).optional());
    Ok(heads.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

pub(super) fn mark_read(
    db: &mut Connection,
    me: &Person,
    id: SessionId,
    seq: u64,
) -> rusqlite::Result<Option<ReadMark>> {
    let transaction = begin(db)?;
    let member = params![me.kind.as_str(), me.id.as_str(), id.0.to_string()];
    let found: Option<(i64, i64)> = transaction
        .query_row(
            "select me.read_seq, c.last_seq from members me join sessions c on c.id = me.session_id \
             where me.kind = ?1 and me.person_id = ?2 and me.session_id = ?3",
            member,
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((read_seq, last_seq)) = found else { return Ok(None) };
    let wanted = position(seq).min(last_seq);
    let moved = wanted > read_seq;
    if moved {
        transaction.execute(
            "update members set read_seq = ?4 \
             where kind = ?1 and person_id = ?2 and session_id = ?3",
            params![me.kind.as_str(), me.id.as_str(), id.0.to_string(), wanted],
        )?;
    }
    transaction.commit()?;
    Ok(Some(ReadMark { seq: wanted.max(read_seq).unsigned_abs(), moved }))
}

pub(super) fn set_session(
    db: &mut Connection,
    me: &Person,
    id: SessionId,
    setting: Setting,
) -> rusqlite::Result<Option<Set>> {
    let transaction = begin(db)?;
    let id = id.0.to_string();
    let found: Option<String> = transaction
        .query_row(
            "select c.status from members me join sessions c on c.id = me.session_id \
             where me.kind = ?1 and me.person_id = ?2 and me.session_id = ?3",
            params![me.kind.as_str(), me.id.as_str(), id],
            |row| row.get(0),
        )
        .optional()?;
    let Some(before) = found else { return Ok(None) };
    let muted = match setting.muted {
        Some(muted) => transaction.execute(
            "update members set muted = ?4 \
             where kind = ?1 and person_id = ?2 and session_id = ?3 and muted <> ?4",
            params![me.kind.as_str(), me.id.as_str(), id, muted],
        )?,
        None => 0,
    };
    let wanted = setting.status.map(SessionStatus::as_str).filter(|wanted| *wanted != before);
    let status = match wanted {
        Some(wanted) => transaction.execute(
            "update sessions as c set status = ?2, rev = rev + 1 where id = ?1 \
             and (?2 = 'closed' or not exists (select 1 from sessions o \
               where o.tenant_id = c.tenant_id and o.customer_id = c.customer_id \
               and o.dentist_id = c.dentist_id and o.status = 'open'))",
            params![id, wanted],
        )?,
        None => 0,
    };
    transaction.commit()?;
    if wanted.is_some() && status == 0 {
        return Ok(Some(Set::AnotherIsOpen));
    }
    Ok(Some(Set::Done { status: status > 0, muted: muted > 0 }))
}

pub(super) fn views(
    db: &Connection,
    ids: &[SessionId],
) -> rusqlite::Result<Vec<(Person, Session)>> {
    let mut statement = db.prepare_cached(&numbered(&format!("{}where c.id = $1", sql::VIEWS)))?;
    let mut views = Vec::new();
    for id in ids {
        let rows = statement.query_map([id.0.to_string()], |row| {
            let session = rows::session(row)?;
            let me: PersonKind = rows::parsed(row, "my_kind")?;
            Ok((session.member(me).clone(), session))
        })?;
        views.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    Ok(views)
}

pub(super) fn mark_delivered(
    db: &mut Connection,
    marks: &[Delivered],
) -> rusqlite::Result<DeliveryMarks> {
    let transaction = begin(db)?;
    let mut moved = Vec::new();
    for mark in marks {
        let seq: Option<i64> = transaction
            .prepare_cached(
                "update members as m set delivered_seq = \
                   (select min(?4, c.last_seq) from sessions c where c.id = m.session_id) \
                 where kind = ?1 and person_id = ?2 and session_id = ?3 and delivered_seq < \
                   (select min(?4, c.last_seq) from sessions c where c.id = m.session_id) \
                 returning delivered_seq",
            )?
            .query_row(
                params![
                    mark.to.kind.as_str(),
                    mark.to.id.as_str(),
                    mark.session_id.0.to_string(),
                    position(mark.seq)
                ],
                |row| row.get(0),
            )
            .optional()?;
        moved.extend(seq.map(|seq| Delivered { seq: seq.unsigned_abs(), ..mark.clone() }));
    }
    transaction.commit()?;
    Ok(DeliveryMarks { moved, locked: Vec::new() })
}

pub(super) fn last_seen(db: &Connection, person: &Person) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "select seen_at from people_seen where kind = ?1 and person_id = ?2";
    let who = [person.kind.as_str(), person.id.as_str()];
    db.query_row(sql, who, |row| rows::time(row, "seen_at")).optional()
}

pub(super) fn seen(db: &mut Connection, people: &[Person]) -> rusqlite::Result<()> {
    let transaction = begin(db)?;
    let now = rows::now().as_microsecond();
    for person in people {
        transaction
            .prepare_cached(
                "insert into people_seen (kind, person_id, seen_at) values (?1, ?2, ?3) \
                 on conflict (kind, person_id) do update set seen_at = excluded.seen_at",
            )?
            .execute(params![person.kind.as_str(), person.id.as_str(), now])?;
    }
    transaction.commit()
}
