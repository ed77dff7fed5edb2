//! `/api/admin/chats/{id}`: who takes part in a session, and whose it is.

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    chats::person_id,
    request::{ActingAdmin, InSession, Json, OfParticipant},
};
use crate::Gateway;
use chat::store::roster;
use model::{
    ids::{SessionId, TenantId},
    person::{Person, PersonId, Side},
    session::{Desk, Member, SessionStatus},
};
use platform::openapi::schema;
use protocol::{
    error::Error,
    problems::{
        Authentication, Body, FullSession, NoAdmin, NoPerson, NoSession, Problems, SharedOnly,
        StillTheirs,
    },
};

/// The professional who takes part or takes over.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Professional {
    #[schema(schema_with = id_schema)]
    dentist_id: PersonId,
}

fn id_schema() -> RefOr<Schema> {
    schema(&person_id())
}

impl Professional {
    fn of(self, tenant: TenantId) -> Person {
        Person::new(tenant, Side::Desk, self.dentist_id)
    }
}

/// The members of a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Roster {
    session_id: SessionId,
    status: SessionStatus,
    customer: Member,
    /// The professional whose session it is.
    dentist: Member,
    /// Further professionals.
    participants: Vec<Member>,
    /// How the desk handles it. Absent if nothing differs from other sessions.
    #[serde(skip_serializing_if = "Desk::is_plain")]
    #[schema(required = false)]
    desk: Desk,
}

impl Roster {
    fn of(session_id: SessionId, roster: roster::Roster) -> Self {
        let roster::Roster { status, contact, agent, participants, desk } = roster;
        Self { session_id, status, customer: contact, dentist: agent, participants, desk }
    }
}

/// Lets another professional take part in a session, with its whole history.
///
/// They see it in their list, receive pushes for it, and what the dentist has not read is unread for them. A blocked
/// dentist can't be added. Every member is told by `session:updated`. The
/// request adds an entry to the audit log.
#[utoipa::path(
    post, path = "", tag = "admin", operation_id = "add_participant", params(InSession), request_body = Professional,
    responses(
        (status = 201, body = Roster, description = "They take part."),
        (status = 200, body = Roster, description = "They were a member already."),
        Problems<(Authentication, NoAdmin, NoSession, NoPerson, Body, FullSession)>,
    )
)]
pub(crate) async fn add(
    State(gateway): State<Arc<Gateway>>,
    ActingAdmin(admin): ActingAdmin,
    InSession(id): InSession,
    Json(professional): Json<Professional>,
) -> Result<(StatusCode, JsonBody<Roster>), Error> {
    let person = professional.of(admin.scope.tenant);
    let (roster, is_new) = gateway.chat.add_participant(&admin, id, &person).await?;
    tracing::info!(admin = %admin.scope.person(), %person, session = %id.0, is_new, "participant added by an admin");
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, JsonBody(Roster::of(id, roster))))
}

/// Ends a professional's part in a session.
///
/// They can't find it any more, and within 5 s nothing new of it is sent to their devices. Their messages stay. The
/// session's dentist can't be removed: transfer it first. Every other member is told by `session:updated`. A change
/// adds an entry to the audit log.
#[utoipa::path(
    delete, path = "", tag = "admin", operation_id = "remove_participant", params(OfParticipant),
    responses(
        (status = 204, description = "They do not take part in it."),
        Problems<(Authentication, NoAdmin, NoSession, NoPerson, StillTheirs)>,
    )
)]
pub(crate) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    ActingAdmin(admin): ActingAdmin,
    OfParticipant(id, professional): OfParticipant,
) -> Result<StatusCode, Error> {
    let person = Person::new(admin.scope.tenant, Side::Desk, professional);
    let was_member = gateway.chat.remove_participant(&admin, id, &person).await?;
    tracing::info!(admin = %admin.scope.person(), %person, session = %id.0, was_member, "participant removed by an admin");
    Ok(StatusCode::NO_CONTENT)
}

/// Makes another professional the dentist of a session, with its whole history.
///
/// The dentist before stays a participant, and receives no more pushes for it. Every member is told by
/// `session:updated`. The request adds an entry to the audit log.
#[utoipa::path(
    post, path = "", tag = "admin", params(InSession), request_body = Professional,
    responses(
        (status = 200, body = Roster, description = "It is their session."),
        Problems<(Authentication, NoAdmin, NoSession, NoPerson, Body, SharedOnly)>,
    )
)]
pub(crate) async fn transfer(
    State(gateway): State<Arc<Gateway>>,
    ActingAdmin(admin): ActingAdmin,
    InSession(id): InSession,
    Json(professional): Json<Professional>,
) -> Result<JsonBody<Roster>, Error> {
    let person = professional.of(admin.scope.tenant);
    let (roster, is_new) = gateway.chat.transfer(&admin, id, &person).await?;
    tracing::info!(admin = %admin.scope.person(), %person, session = %id.0, is_new, "session transferred by an admin");
    Ok(JsonBody(Roster::of(id, roster)))
}
