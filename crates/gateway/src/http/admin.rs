//! `/api/admin`: for callers whose token marks them as admins.

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::request::{ActingAdmin, OfMessage};
use crate::Gateway;
use chat::store::PastBody;
use identity::audit::{Act, NewEntry, table::AuditTable};
use protocol::{
    error::Error,
    problems::{Authentication, NoAdmin, NoMessage, Problems},
};

#[derive(Serialize, ToSchema)]
pub(crate) struct Edits {
    items: Vec<PastBody>,
}

/// Earlier texts of a message, the oldest first.
///
/// They are kept for 30 days, or as long as the operator has set.
#[utoipa::path(
    get, path = "", tag = "admin", params(OfMessage),
    responses((status = 200, body = Edits, description = "The earlier versions. The request adds an entry to the audit log."), Problems<(Authentication, NoAdmin, NoMessage)>)
)]
pub(crate) async fn edits(
    State(gateway): State<Arc<Gateway>>,
    ActingAdmin(admin): ActingAdmin,
    OfMessage(session_id, message_id): OfMessage,
) -> Result<JsonBody<Edits>, Error> {
    let items = gateway.chat.store.past_bodies(&admin.scope, session_id, message_id).await?;
    let items = items.ok_or(Error::MessageNotFound)?;
    // Reading texts that patients took back is recorded first. If that fails, nothing is shown.
    let looked = NewEntry::of_message(&admin, Act::ReadEdits, session_id, message_id);
    AuditTable(gateway.database.clone()).note_act(&looked).await?;
    tracing::info!(admin = %admin.scope.person(), session = %session_id.0, message = %message_id, "message edits read by an admin");
    Ok(JsonBody(Edits { items }))
}
