//! `/api/admin/audit`: acts of administrators.

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State};

use super::{
    cursor::{self, Page, Paging},
    request::{Admin, Params},
};
use crate::Gateway;
use identity::audit::{Entry, table::AuditTable};
use protocol::{
    error::Error,
    problems::{Authentication, Input, NoAdmin, Problems},
};

/// Acts of administrators, the latest first. They are kept forever and never changed.
#[utoipa::path(
    get, path = "", tag = "admin", operation_id = "audit", params(Paging),
    responses((status = 200, body = Page<Entry>, description = "A page of the audit log."), Problems<(Authentication, NoAdmin, Input)>)
)]
pub(crate) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Admin(admin): Admin,
    Params(paging): Params<Paging>,
) -> Result<JsonBody<Page<Entry>>, Error> {
    let (after, limit) = paging.read(cursor::to_act)?;
    let items = AuditTable(gateway.database.clone()).acts(&admin, after.as_ref(), limit).await?;
    Ok(JsonBody(Page::of(items, limit, |last| cursor::of_act((last.at, last.id)))))
}
