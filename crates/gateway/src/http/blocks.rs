//! `/api/admin/users`: blocked people.

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    cursor::{self, Page, Paging},
    request::{ActingAdmin, Admin, JsonOrNothing, OfUser, Params},
};
use crate::Gateway;
use identity::blocks::Reason;
use identity::blocks::table;
use model::person::Person;
use protocol::{
    error::Error,
    problems::{Authentication, Body, Input, NoAdmin, NoPerson, Oneself, Problems},
};

/// A block as an admin sees it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Block {
    user: Person,
    blocked_at: Timestamp,
    blocked_by: Person,
    reason: Option<Reason>,
}

impl From<table::Block> for Block {
    fn from(block: table::Block) -> Self {
        let table::Block { person, reason, by, at } = block;
        Self { user: person, blocked_at: at, blocked_by: by, reason }
    }
}

#[derive(Default, Deserialize, ToSchema)]
pub(crate) struct Because {
    #[serde(default)]
    reason: Option<Reason>,
}

/// Blocks a person, known here or not. Every node disconnects them within a second.
#[utoipa::path(
    put, path = "", tag = "admin", params(OfUser), request_body = Option<Because>,
    responses(
        (status = 200, body = Block, description = "The person is blocked. Time and admin are those of the first block."),
        Problems<(Authentication, NoAdmin, NoPerson, Body, Oneself)>,
    )
)]
pub(crate) async fn block(
    State(gateway): State<Arc<Gateway>>,
    ActingAdmin(admin): ActingAdmin,
    OfUser(user): OfUser,
    JsonOrNothing(because): JsonOrNothing<Because>,
) -> Result<JsonBody<Block>, Error> {
    // Nobody might be left to undo it.
    if user == admin.scope.name() {
        return Err(Error::BlocksItself);
    }
    let block = gateway.chat.admission.blocks.block(&admin, &user, because.reason.as_ref()).await?;
    tracing::info!(admin = %admin.scope.person(), user = %block.person, "user blocked by an admin");
    Ok(JsonBody(block.into()))
}

/// Unblocks a person.
#[utoipa::path(
    delete, path = "", tag = "admin", params(OfUser),
    responses((status = 204, description = "The person is not blocked."), Problems<(Authentication, NoAdmin, NoPerson)>)
)]
pub(crate) async fn unblock(
    State(gateway): State<Arc<Gateway>>,
    ActingAdmin(admin): ActingAdmin,
    OfUser(user): OfUser,
) -> Result<StatusCode, Error> {
    gateway.chat.admission.blocks.unblock(&admin, &user).await?;
    let user = user.of(admin.scope.tenant);
    tracing::info!(admin = %admin.scope.person(), %user, "user unblocked by an admin");
    Ok(StatusCode::NO_CONTENT)
}

/// Blocked people, the latest first.
#[utoipa::path(
    get, path = "", tag = "admin", operation_id = "blocked", params(Paging),
    responses((status = 200, body = Page<Block>, description = "A page of blocked people."), Problems<(Authentication, NoAdmin, Input)>)
)]
pub(crate) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Admin(admin): Admin,
    Params(paging): Params<Paging>,
) -> Result<JsonBody<Page<Block>>, Error> {
    let (after, limit) = paging.read(cursor::to_block)?;
    let items = gateway.chat.admission.blocks.list(&admin, after.as_ref(), limit).await?;
    Ok(JsonBody(Page::of(items, limit, |last| cursor::of_block(last.at, &last.person))))
}
