//! `/api/chats`: opening, listing and reading sessions.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json as JsonBody, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    cursor::{self, Page, Place},
    request::{Caller, InSession, Json, Params},
};
use crate::{
    app::App,
    commands,
    error::Error,
    person::{Person, PersonId, PersonKind},
    session::{InvalidStatus, Session, SessionId, SessionStatus},
    store::{PAGE_MAX, SessionPage, Setting},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Open {
    #[serde(default)]
    customer_id: Option<PersonId>,
    #[serde(default)]
    dentist_id: Option<PersonId>,
}

pub(crate) async fn open(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    Json(open): Json<Open>,
) -> Result<(StatusCode, JsonBody<Session>), Error> {
    let other = match (me.person.kind, open.customer_id, open.dentist_id) {
        (PersonKind::Customer, None, Some(id)) => Person::new(PersonKind::Dentist, id),
        (PersonKind::Dentist, Some(id), None) => Person::new(PersonKind::Customer, id),
        (PersonKind::Customer, ..) => {
            return Err(Error::invalid("dentistId", "is what a customer opens a session with"));
        }
        (PersonKind::Dentist, ..) => {
            return Err(Error::invalid("customerId", "is what a dentist opens a session with"));
        }
    };
    let (session, opened) = commands::open::run(&app, &me.person, other).await?;
    let status = if opened { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, JsonBody(session)))
}

#[derive(Deserialize)]
pub(crate) struct List {
    status: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

impl List {
    /// Of which sessions, from where on, and how many.
    pub(super) fn page(&self) -> Result<(Option<SessionStatus>, Option<Place>, u32), Error> {
        let invalid = |error: InvalidStatus| Error::invalid("status", error.to_string());
        let status = self.status.as_deref().map(str::parse).transpose().map_err(invalid)?;
        let place = self.cursor.as_deref().map(cursor::to_session).transpose()?;
        Ok((status, place, cursor::limit(self.limit.as_deref())?))
    }
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    Params(list): Params<List>,
) -> Result<JsonBody<Page<Session>>, Error> {
    let (status, place, limit) = list.page()?;
    let after = place.map(|place| (place.active_at, place.id));
    let page = SessionPage { status, after, since: None, limit };
    let mut items = app.store.sessions(&me.person, &page).await?;
    for session in &items {
        app.people.shown(session);
    }
    let began = place.map(|place| place.began).or(items.first().map(|first| first.active_at));
    if items.len() == limit as usize
        && let (Some(last), Some(began)) = (items.last(), began)
    {
        let next = Place { began, active_at: last.active_at, id: last.id };
        let next_cursor = Some(cursor::of_session(next));
        return Ok(JsonBody(Page { items, next_cursor }));
    }
    if let Some(Place { began, .. }) = place {
        // What became active meanwhile has moved up, past the cursor: nobody is to miss it.
        let since = Some(began);
        let moved = SessionPage { status, after: None, since, limit: PAGE_MAX };
        items.extend(app.store.sessions(&me.person, &moved).await?);
    }
    Ok(JsonBody(Page { items, next_cursor: None }))
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    InSession(id): InSession,
) -> Result<JsonBody<Session>, Error> {
    let mut session = app.store.session(&me.person, id).await?.ok_or(Error::SessionNotFound)?;
    app.people.shown(&session);
    app.people.disclose(&me.person, &mut session).await;
    Ok(JsonBody(session))
}

/// What a member changes of a session.
#[derive(Deserialize)]
pub(crate) struct Change {
    #[serde(default)]
    status: Option<SessionStatus>,
    #[serde(default)]
    muted: Option<bool>,
}

pub(crate) async fn set(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    InSession(id): InSession,
    Json(Change { status, muted }): Json<Change>,
) -> Result<JsonBody<Session>, Error> {
    let setting = Setting { status, muted };
    commands::set::run(&app, &me.person, id, setting).await.map(JsonBody)
}

#[derive(Serialize)]
pub(crate) struct Unread {
    total: u64,
    sessions: BTreeMap<SessionId, u64>,
}

pub(crate) async fn unread(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
) -> Result<JsonBody<Unread>, Error> {
    let sessions: BTreeMap<_, _> = app.store.unread(&me.person).await?.into_iter().collect();
    Ok(JsonBody(Unread { total: sessions.values().sum(), sessions }))
}
