//! `/api/admin/audit`: acts of administrators.

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    cursor::{self, Page},
    request::{Admin, Params},
};
use crate::Gateway;
use identity::audit::{Entry, table::AuditTable};
use protocol::{
    error::Error,
    problems::{Authentication, Input, NoAdmin, Problems},
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct List {
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
    #[param(schema_with = cursor::limit_schema)]
    limit: Option<String>,
}

/// Acts of administrators, the latest first. They are kept forever and never changed.
#[utoipa::path(
    get, path = "", tag = "admin", operation_id = "audit", params(List),
    responses((status = 200, body = Page<Entry>, description = "A page of the audit log."), Problems<(Authentication, NoAdmin, Input)>)
)]
pub(crate) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Admin(admin): Admin,
    Params(List { cursor, limit }): Params<List>,
) -> Result<JsonBody<Page<Entry>>, Error> {
    let after = cursor.as_deref().map(cursor::to_act).transpose()?;
    let limit = cursor::limit(limit.as_deref())?;
    let items = AuditTable(gateway.database.clone())
        .acts(admin.person.tenant, after.as_ref(), limit)
        .await?;
    let last = items.last().filter(|_| items.len() == limit as usize);
    let next_cursor = last.map(|last| cursor::of_act((last.at, last.id)));
    Ok(JsonBody(Page { items, next_cursor }))
}
