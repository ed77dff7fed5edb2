//! `/api/admin`: for those whose token says that they are admins.

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::request::{Admin, OfMessage};
use crate::{
    app::App,
    error::Error,
    openapi::problems::{Caller, NoAdmin, NoMessage, Problems},
    store::PastBody,
};

#[derive(Serialize, ToSchema)]
pub(crate) struct Edits {
    items: Vec<PastBody>,
}

/// What a message said before each change, the first version first.
#[utoipa::path(
    get, path = "", tag = "admin", params(OfMessage),
    responses((status = 200, body = Edits, description = "It leaves a line in the log."), Problems<(Caller, NoAdmin, NoMessage)>)
)]
pub(crate) async fn edits(
    State(app): State<Arc<App>>,
    Admin(admin): Admin,
    OfMessage(session_id, message_id): OfMessage,
) -> Result<JsonBody<Edits>, Error> {
    let items = app.store.past_bodies(session_id, message_id).await?;
    let items = items.ok_or(Error::MessageNotFound)?;
    // Who looks at what patients have taken back leaves a trace.
    tracing::info!(admin = %admin.person, session = %session_id.0, message = %message_id, "an admin read a message's edits");
    Ok(JsonBody(Edits { items }))
}
