//! `/api/admin`: for those whose token says that they are admins.

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::request::{ActingAdmin, OfMessage};
use crate::{
    app::App,
    audit::{Act, NewEntry},
    error::Error,
    openapi::problems::{Caller, NoAdmin, NoMessage, Problems},
    store::PastBody,
};

#[derive(Serialize, ToSchema)]
pub(crate) struct Edits {
    items: Vec<PastBody>,
}

/// What a message said before each change, the first version first.
///
/// It is kept for 30 days, or as long as the operator has set.
#[utoipa::path(
    get, path = "", tag = "admin", params(OfMessage),
    responses((status = 200, body = Edits, description = "It leaves an entry in the audit log."), Problems<(Caller, NoAdmin, NoMessage)>)
)]
pub(crate) async fn edits(
    State(app): State<Arc<App>>,
    ActingAdmin(admin): ActingAdmin,
    OfMessage(session_id, message_id): OfMessage,
) -> Result<JsonBody<Edits>, Error> {
    let items = app.store.past_bodies(session_id, message_id).await?;
    let items = items.ok_or(Error::MessageNotFound)?;
    // A look at texts that patients have taken back leaves a trace, or shows nothing.
    let looked = NewEntry::of_message(&admin, Act::ReadEdits, session_id, message_id);
    app.store.note_act(&looked).await?;
    tracing::info!(admin = %admin.person, session = %session_id.0, message = %message_id, "an admin read a message's edits");
    Ok(JsonBody(Edits { items }))
}
