//! `/api/chats`: opening, listing and reading sessions.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json as JsonBody, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    cursor::{self, Page, SessionCursor},
    request::{Authenticated, InSession, Json, Params},
};
use crate::Gateway;
use chat::{
    reads::Operation,
    store::{Listed, PAGE_MAX, SessionPage, SessionPatch},
};
use model::{
    ids::SessionId,
    person::{Person, PersonId, Side},
    session::{DeskStatus, InvalidDeskStatus, Session},
};
use platform::openapi;
use protocol::{
    error::Error,
    problems::{
        Authentication, Body, BusyNow, Input, NoPerson, NoSession, NotListed, NotTheAgent,
        Problems, TooManyUnanswered, TwoOpen,
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Open {
    #[serde(default)]
    customer_id: Option<PersonId>,
    #[serde(default)]
    dentist_id: Option<PersonId>,
}

/// Schema of a person's id in a body: it may be a number.
pub(crate) fn person_id() -> Value {
    json!({ "oneOf": [
        { "type": "string", "pattern": "^[A-Za-z0-9._:@-]{1,128}$" },
        { "type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX },
    ] })
}

/// The caller names the other side.
impl PartialSchema for Open {
    fn schema() -> RefOr<Schema> {
        let id = person_id();
        openapi::schema(&json!({ "oneOf": [
            {
                "title": "OpenAsCustomer", "type": "object", "required": ["dentistId"],
                "properties": { "dentistId": id, "customerId": { "type": "null" } },
            },
            {
                "title": "OpenAsDentist", "type": "object", "required": ["customerId"],
                "properties": { "customerId": id, "dentistId": { "type": "null" } },
            },
        ] }))
    }
}

impl ToSchema for Open {}

/// Opens a session with a person on the other side, or returns the open one.
///
/// Limit: ten new sessions a minute for each user, over all nodes; returning an open one does not count. A
/// customer may have fifty open sessions in which the dentist has written nothing. An unknown person and a
/// person whom the caller may not talk to give the same `person_not_found`.
#[utoipa::path(
    post, path = "", tag = "chats", request_body = Open,
    responses(
        (status = 201, body = Session, description = "The new session."),
        (status = 200, body = Session, description = "The session was open already."),
        Problems<(Authentication, Body, NoPerson, TooManyUnanswered, BusyNow)>,
    )
)]
pub(crate) async fn open(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    Json(open): Json<Open>,
) -> Result<(StatusCode, JsonBody<Session>), Error> {
    let other = match (me.side, open.customer_id, open.dentist_id) {
        (Side::Contact, None, Some(id)) => Person::new(me.tenant, Side::Desk, id),
        (Side::Desk, Some(id), None) => Person::new(me.tenant, Side::Contact, id),
        (Side::Contact, ..) => {
            return Err(Error::invalid(
                "dentistId",
                "is required for a customer, without customerId",
            ));
        }
        (Side::Desk, ..) => {
            return Err(Error::invalid(
                "customerId",
                "is required for a dentist, without dentistId",
            ));
        }
    };
    let _permit = gateway.chat.reads.permit(Operation::Open, &me).await?;
    let (session, opened) = gateway.open(&me, other).await?;
    let status = if opened { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, JsonBody(session)))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct List {
    /// Only sessions with this status. Pending and snoozed ones are open too, and only a dentist may ask for them.
    #[param(value_type = Option<DeskStatus>, inline)]
    status: Option<String>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
    #[param(schema_with = cursor::limit_schema)]
    limit: Option<String>,
}

impl List {
    /// Status filter, position and page size, for a person on this side.
    pub(super) fn page(
        &self,
        side: Side,
    ) -> Result<(Option<DeskStatus>, Option<SessionCursor>, u32), Error> {
        let status =
            self.status.as_deref().map(|status| status_filter(status, side)).transpose()?;
        let place = self.cursor.as_deref().map(cursor::to_session).transpose()?;
        Ok((status, place, cursor::limit(self.limit.as_deref())?))
    }
}

/// The status by which a person on this side filters. Customers know two.
fn status_filter(status: &str, side: Side) -> Result<DeskStatus, Error> {
    let invalid = |error: InvalidDeskStatus| Error::invalid("status", error.to_string());
    let status: DeskStatus = status.parse().map_err(invalid)?;
    if side == Side::Contact && status.waiting().is_some() {
        return Err(Error::Forbidden("only a dentist can list pending or snoozed sessions"));
    }
    Ok(status)
}

/// Sessions of the caller, latest activity first.
///
/// A page with long last messages may have fewer sessions than its limit: `nextCursor` shows whether there
/// are more. Sessions that become active during paging come at the end, perhaps for the second time, so that
/// none is missing.
#[utoipa::path(
    get, path = "", tag = "chats", params(List),
    responses((status = 200, body = Page<Session>, description = "A page of sessions."), Problems<(Authentication, Input, NotListed, BusyNow)>)
)]
pub(crate) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    Params(list): Params<List>,
) -> Result<JsonBody<Page<Session>>, Error> {
    let (status, place, limit) = list.page(me.side)?;
    let after = place.map(|place| (place.active_at, place.id));
    let page = SessionPage { status, after, since: None, limit };
    let _permit = gateway.chat.reads.permit(Operation::List, &me).await?;
    let Listed { sessions: mut items, is_cut } = gateway.chat.store.sessions(&me, &page).await?;
    for session in &items {
        gateway.chat.people.shown(session);
    }
    let began = place.map(|place| place.began).or(items.first().map(|first| first.active_at));
    if (is_cut || items.len() == limit as usize)
        && let (Some(last), Some(began)) = (items.last(), began)
    {
        let next = SessionCursor { began, active_at: last.active_at, id: last.id };
        let next_cursor = Some(cursor::of_session(next));
        return Ok(JsonBody(Page { items, next_cursor }));
    }
    if let Some(SessionCursor { began, .. }) = place {
        // Sessions that became active meanwhile have moved up, past the cursor. They must not be missed.
        let since = Some(began);
        let moved = SessionPage { status, after: None, since, limit: PAGE_MAX };
        items.extend(gateway.chat.store.sessions(&me, &moved).await?.sessions);
    }
    Ok(JsonBody(Page { items, next_cursor: None }))
}

/// One session, as the caller sees it.
#[utoipa::path(
    get, path = "", tag = "chats", params(InSession),
    responses(
        (status = 200, body = Session, description = "The session. A dentist also sees the customer's e-mail address, if the directory has it."),
        Problems<(Authentication, NoSession)>,
    )
)]
pub(crate) async fn get(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    InSession(id): InSession,
) -> Result<JsonBody<Session>, Error> {
    let mut session = gateway.chat.store.session(&me, id).await?.ok_or(Error::SessionNotFound)?;
    gateway.chat.people.shown(&session);
    gateway.chat.people.disclose(&me, &mut session).await;
    Ok(JsonBody(session))
}

/// Changes that a member makes to a session.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SessionChange)]
pub(crate) struct Change {
    /// A dentist closes the session, opens it again, or puts it aside: `pending` until that is changed, `snoozed` until
    /// the customer writes or `snoozedUntil` comes. For the customer it stays open.
    #[serde(default)]
    #[schema(inline)]
    status: Option<DeskStatus>,
    /// Time at which a snoozed session wakes, at most a year ahead. Only with the status `snoozed`.
    #[serde(default, deserialize_with = "time")]
    snoozed_until: Option<Timestamp>,
    /// The dentist or participant who shall look after the session.
    #[serde(default)]
    #[schema(schema_with = assignee_schema)]
    assignee_id: Option<PersonId>,
    /// Whether the caller gets no pushes for it.
    #[serde(default)]
    muted: Option<bool>,
}

/// A time, without the parser's own words in the error: they may quote the text.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let wrong = |_| de::Error::custom("must be a time such as 2026-01-31T09:00:00Z");
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

fn assignee_schema() -> RefOr<Schema> {
    openapi::schema(&person_id())
}

/// Closes a session, opens it again, puts it aside, assigns it, or mutes it for the caller.
#[utoipa::path(
    patch, path = "", tag = "chats", params(InSession), request_body = Change,
    responses(
        (status = 200, body = Session, description = "The session after the change."),
        Problems<(Authentication, NoSession, Body, NotTheAgent, TwoOpen)>,
    )
)]
pub(crate) async fn set(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    InSession(id): InSession,
    Json(Change { status, snoozed_until, assignee_id: assignee, muted }): Json<Change>,
) -> Result<JsonBody<Session>, Error> {
    let patch = SessionPatch { status, snoozed_until, assignee, muted };
    gateway.chat.set(&me, id, patch).await.map(JsonBody)
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Unread {
    total: u64,
    /// Number of unread messages of each session that has any.
    #[schema(value_type = BTreeMap<String, u64>)]
    sessions: BTreeMap<SessionId, u64>,
}

/// Number of unread messages of the caller.
#[utoipa::path(
    get, path = "", tag = "chats",
    responses((status = 200, body = Unread, description = "Counts of the 1,000 sessions with the latest activity."), Problems<(Authentication, BusyNow)>)
)]
pub(crate) async fn unread(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
) -> Result<JsonBody<Unread>, Error> {
    let _permit = gateway.chat.reads.permit(Operation::Unread, &me).await?;
    let sessions: BTreeMap<_, _> = gateway.chat.store.unread(&me).await?.into_iter().collect();
    Ok(JsonBody(Unread { total: sessions.values().sum(), sessions }))
}
