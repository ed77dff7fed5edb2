//! `/api/platform/tenants`

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{OfTenant, Operator};
use crate::{
    Gateway,
    http::{
        cursor::{self, Page, Paging},
        request::{Json, Params},
    },
};
use identity::tenants::table;
use model::tenant::TenantName;
use protocol::{
    error::Error,
    problems::{Body, Input, NoTenant, OneTenant, PlatformKey, Problems},
};

/// A tenant: one organisation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tenant {
    id: i32,
    name: TenantName,
    suspended: bool,
    /// Null if it is not suspended.
    #[schema(required)]
    suspended_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl From<table::Tenant> for Tenant {
    fn from(tenant: table::Tenant) -> Self {
        let table::Tenant { id, name, suspended_at, created_at } = tenant;
        let suspended = suspended_at.is_some();
        Self { id: id.number(), name, suspended, suspended_at, created_at }
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewTenant)]
pub(crate) struct New {
    name: TenantName,
}

/// Creates a tenant. It has no issuers yet, so nobody is in it.
#[utoipa::path(
    post, path = "", tag = "tenants", security(("platform" = [])), request_body = New,
    responses(
        (status = 201, body = Tenant, description = "The new tenant."),
        Problems<(PlatformKey, Body, OneTenant)>,
    )
)]
pub(crate) async fn create(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    Json(new): Json<New>,
) -> Result<(StatusCode, JsonBody<Tenant>), Error> {
    let tenant = gateway.chat.admission.tenants.create(&new.name).await?;
    tracing::info!(tenant = tenant.id.number(), "tenant created");
    Ok((StatusCode::CREATED, JsonBody(tenant.into())))
}

/// All tenants, by their numbers. The first one is `main`.
#[utoipa::path(
    get, path = "", tag = "tenants", security(("platform" = [])), params(Paging),
    responses((status = 200, body = Page<Tenant>, description = "A page of tenants."), Problems<(PlatformKey, Input)>)
)]
pub(crate) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    Params(paging): Params<Paging>,
) -> Result<JsonBody<Page<Tenant>>, Error> {
    let (after, limit) = paging.read(cursor::to_tenant)?;
    let items = gateway.chat.admission.tenants.list(after.unwrap_or(0), limit).await?;
    Ok(JsonBody(Page::of(items, limit, |last| cursor::of_tenant(last.id.number()))))
}

/// One tenant.
#[utoipa::path(
    get, path = "", tag = "tenants", security(("platform" = [])), params(OfTenant),
    responses((status = 200, body = Tenant, description = "The tenant."), Problems<(PlatformKey, NoTenant)>)
)]
pub(crate) async fn get(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    OfTenant(id): OfTenant,
) -> Result<JsonBody<Tenant>, Error> {
    Ok(JsonBody(gateway.chat.admission.tenants.get(id).await?.into()))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = TenantChange)]
pub(crate) struct Change {
    #[serde(default)]
    #[schema(required = false)]
    name: Option<TenantName>,
    /// True: nobody of the tenant gets in, and sockets are closed with 4403 within a second on all nodes. Its data stay.
    #[serde(default)]
    #[schema(required = false)]
    suspended: Option<bool>,
}

/// Renames, suspends or resumes a tenant.
#[utoipa::path(
    patch, path = "", tag = "tenants", security(("platform" = [])), params(OfTenant), request_body = Change,
    responses((status = 200, body = Tenant, description = "The tenant as it is now."), Problems<(PlatformKey, NoTenant, Body)>)
)]
pub(crate) async fn set(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    OfTenant(id): OfTenant,
    Json(Change { name, suspended }): Json<Change>,
) -> Result<JsonBody<Tenant>, Error> {
    let tenant = gateway.chat.admission.tenants.set(id, name.as_ref(), suspended).await?;
    let suspended = tenant.suspended_at.is_some();
    tracing::info!(tenant = id.number(), suspended, "tenant changed");
    Ok(JsonBody(tenant.into()))
}

/// Use of the installation by a tenant.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TenantUsage)]
pub(crate) struct Usage {
    /// Sessions, open and closed.
    sessions: u64,
    open_sessions: u64,
    /// Messages that were sent, deleted ones too.
    messages: u64,
    /// People who are members of a session.
    people: u64,
    /// Bytes of pictures, as announced by their uploads.
    image_bytes: u64,
    /// Jobs that are due or under way.
    jobs: u64,
    /// Jobs that were given up.
    dead_jobs: u64,
}

/// Present use of the installation by a tenant.
#[utoipa::path(
    get, path = "", tag = "tenants", security(("platform" = [])), params(OfTenant),
    responses((status = 200, body = Usage, description = "The counts."), Problems<(PlatformKey, NoTenant)>)
)]
pub(crate) async fn usage(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    OfTenant(id): OfTenant,
) -> Result<JsonBody<Usage>, Error> {
    let usage = gateway.chat.admission.tenants.usage(id).await?;
    Ok(JsonBody(Usage {
        sessions: usage.sessions,
        open_sessions: usage.open_sessions,
        messages: usage.messages,
        people: usage.people,
        image_bytes: usage.image_bytes,
        jobs: usage.jobs,
        dead_jobs: usage.dead_jobs,
    }))
}
