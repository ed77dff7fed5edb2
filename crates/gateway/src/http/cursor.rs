//! Pages: the opaque cursor and the page size.
//!
//! A cursor is a position in the caller's own list. It grants nothing: every query is by member, so an edited
//! or foreign cursor is only another position.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{RefOr, Schema},
};
use uuid::Uuid;

use chat::store::{HistoryRange, PAGE_MAX};
use identity::{audit::table::AuditPlace, blocks::table::BlockPlace};
use model::{
    ids::SessionId,
    person::{Person, PersonName},
};
use platform::openapi;
use protocol::error::Error;

/// Default page size.
const PAGE: u32 = 50;

/// A page as answered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    pub items: Vec<T>,
    /// Cursor of the next page; null at the end.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// These items, of which there are at most `limit`. A full page has a next one, after its last item.
    pub(crate) fn of<I: Into<T>>(items: Vec<I>, limit: u32, cursor: impl Fn(&I) -> String) -> Self {
        let last = items.last().filter(|_| items.len() == limit as usize);
        let next_cursor = last.map(cursor);
        Self { items: items.into_iter().map(Into::into).collect(), next_cursor }
    }
}

/// Parameters of a request for a page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
    #[param(schema_with = limit_schema)]
    limit: Option<String>,
}

impl Paging {
    /// The position after which the page begins, as `parse` reads it, and the page's size.
    pub(crate) fn read<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, Error>,
    ) -> Result<(Option<T>, u32), Error> {
        Ok((self.cursor.as_deref().map(parse).transpose()?, limit(self.limit.as_deref())?))
    }
}

/// Page size between 1 and [`PAGE_MAX`]. A larger one is reduced to it.
pub(crate) fn limit(asked: Option<&str>) -> Result<u32, Error> {
    let Some(asked) = asked else { return Ok(PAGE) };
    match asked.parse::<u64>() {
        Ok(limit) if limit >= 1 => Ok(u32::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX)),
        _ => Err(Error::invalid("limit", format!("must be a number from 1 to {PAGE_MAX}"))),
    }
}

/// Schema of the values that [`limit`] accepts.
pub(crate) fn limit_schema() -> RefOr<Schema> {
    openapi::schema(&json!({
        "description": "Maximum number of items. More than 200 counts as 200.",
        "type": "integer", "format": "uint64", "minimum": 1, "maximum": u64::MAX, "default": PAGE,
    }))
}

/// A position in a list of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionCursor {
    /// Activity of the first session when the paging began. Later activity was not listed then.
    pub began: Timestamp,
    pub active_at: Timestamp,
    pub id: SessionId,
}

pub(crate) fn of_session(place: SessionCursor) -> String {
    let SessionCursor { began, active_at, id } = place;
    encode(&format!("s{}.{}.{}", began.as_microsecond(), active_at.as_microsecond(), id.0.simple()))
}

pub(crate) fn to_session(cursor: &str) -> Result<SessionCursor, Error> {
    let place = || {
        let text = decode(cursor)?;
        let (began, rest) = text.strip_prefix('s')?.split_once('.')?;
        let (active_at, id) = rest.split_once('.')?;
        let id = SessionId(Uuid::try_parse(id).ok()?);
        Some(SessionCursor { began: time(began)?, active_at: time(active_at)?, id })
    };
    ours(place(), of_session, cursor)
}

/// Cursor of a position in a history.
pub(crate) fn of_range(range: HistoryRange) -> String {
    encode(&match range {
        HistoryRange::After(seq) => format!("a{seq}"),
        HistoryRange::Before(seq) => format!("b{seq}"),
    })
}

pub(crate) fn to_range(cursor: &str) -> Result<HistoryRange, Error> {
    let place = || {
        let text = decode(cursor)?;
        if let Some(seq) = text.strip_prefix('a') {
            return Some(HistoryRange::After(seq.parse().ok()?));
        }
        Some(HistoryRange::Before(text.strip_prefix('b')?.parse().ok()?))
    };
    ours(place(), of_range, cursor)
}

/// Cursor of a position in a ranked list.
pub(crate) fn of_offset(offset: u32) -> String {
    encode(&format!("f{offset}"))
}

pub(crate) fn to_offset(cursor: &str) -> Result<u32, Error> {
    let place = || decode(cursor)?.strip_prefix('f')?.parse().ok();
    ours(place(), of_offset, cursor)
}

/// Accepts only the spelling that this module writes. Numbers have others (`+1`, `01`), and ids too.
fn ours<T: Copy>(place: Option<T>, write: fn(T) -> String, cursor: &str) -> Result<T, Error> {
    place.filter(|place| write(*place) == cursor).ok_or_else(invalid)
}

/// Cursor of a position in the list of blocks.
pub(crate) fn of_block(at: Timestamp, person: &Person) -> String {
    let (kind, id) = (person.side.as_str(), person.id.as_str());
    encode(&format!("k{}.{kind}:{id}", at.as_microsecond()))
}

pub(crate) fn to_block(cursor: &str) -> Result<BlockPlace, Error> {
    let place = || {
        let text = decode(cursor)?;
        let (at, person) = text.strip_prefix('k')?.split_once('.')?;
        let (kind, id) = person.split_once(':')?;
        let at = time(at)?;
        Some((at, PersonName { side: kind.parse().ok()?, id: id.parse().ok()? }))
    };
    place().ok_or_else(invalid)
}

/// Cursor of a position in the list of tenants.
pub(crate) fn of_tenant(number: i32) -> String {
    encode(&format!("t{number}"))
}

pub(crate) fn to_tenant(cursor: &str) -> Result<i32, Error> {
    let place = || decode(cursor)?.strip_prefix('t')?.parse().ok();
    ours(place(), of_tenant, cursor)
}

/// Cursor of a position in the audit log.
pub(crate) fn of_act((at, id): AuditPlace) -> String {
    encode(&format!("u{}.{}", at.as_microsecond(), id.simple()))
}

pub(crate) fn to_act(cursor: &str) -> Result<AuditPlace, Error> {
    let place = || {
        let text = decode(cursor)?;
        let (at, id) = text.strip_prefix('u')?.split_once('.')?;
        Some((time(at)?, Uuid::try_parse(id).ok()?))
    };
    ours(place(), of_act, cursor)
}

/// Microseconds since 1970. Earlier times are refused, since they may be out of a database's range.
fn time(micros: &str) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros.parse::<u64>().ok()?.try_into().ok()?).ok()
}

fn encode(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn decode(cursor: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

fn invalid() -> Error {
    Error::invalid("cursor", "must be the nextCursor of another page of this list")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::TenantId;
    use model::person::Side;
    use platform::new_id;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let at = |micros: i64| Timestamp::from_microsecond(1_763_000_000_000_000 + micros).unwrap();
        let place = SessionCursor { began: at(123_456), active_at: at(1), id: SessionId(new_id()) };
        assert_eq!(to_session(&of_session(place)).unwrap(), place);
        let blocked = Person::new(TenantId::MAIN, Side::Contact, "a.b:c".parse().unwrap());
        assert_eq!(to_block(&of_block(at(7), &blocked)).unwrap(), (at(7), blocked.name()));
        let act = (at(9), new_id());
        assert_eq!(to_act(&of_act(act)).unwrap(), act);
        for range in [HistoryRange::After(0), HistoryRange::Before(u64::MAX)] {
            assert_eq!(to_range(&of_range(range)).unwrap(), range);
        }
    }

    #[test]
    fn b46_b47_odd_cursors_and_limits_are_refused_by_name() {
        let odd =
            ["", "-1", "%", "bm90aGluZw", &encode("a-1"), &encode("b1e9"), &"A".repeat(9_999)];
        for cursor in odd {
            assert!(to_range(cursor).unwrap_err().to_string().starts_with("cursor: "));
            assert!(to_session(cursor).is_err() && to_offset(cursor).is_err());
            assert!(to_block(cursor).is_err() && to_act(cursor).is_err());
        }
        for other_spelling in ["a+1", "b01", "f+1", "f00"] {
            let cursor = encode(other_spelling);
            assert!(to_range(&cursor).is_err() && to_offset(&cursor).is_err(), "{other_spelling}");
        }
        let id = new_id();
        for other_spelling in [
            format!("s1.1.{id}"),
            format!("s+1.1.{}", id.simple()),
            format!("s1.1.{}", id.simple().to_string().to_uppercase()),
        ] {
            assert!(to_session(&encode(&other_spelling)).is_err(), "{other_spelling}");
        }
        let huge = encode(&format!("s{0}.{0}.{1}", i64::MAX, new_id().simple()));
        assert!(to_session(&huge).is_err());
        let early = encode(&format!("s1.-300000000000000000.{}", new_id().simple()));
        assert!(to_session(&early).is_err());
        assert!(
            limit(Some("0")).is_err() && limit(Some("-1")).is_err() && limit(Some("x")).is_err()
        );
        assert_eq!(limit(Some("1000000000")).unwrap(), PAGE_MAX);
        assert_eq!(limit(None).unwrap(), PAGE);
    }
}
