//! `/api/platform`: the organisations on this installation, for its operator, who has `PLATFORM_API_KEY`.

pub(crate) mod issuers;
pub(crate) mod tenants;

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use secrecy::ExposeSecret;
use serde_json::json;
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use crate::Gateway;
use identity::auth::is_same_secret;
use model::ids::TenantId;
use platform::openapi::{in_path, schema};
use protocol::error::Error;

/// Header of the key.
const KEY: &str = "x-api-key";

/// The operator, by the key of the platform API.
pub(crate) struct Operator;

impl FromRequestParts<Arc<Gateway>> for Operator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Error> {
        let key = gateway.config.platform_key.as_ref().ok_or(Error::RouteNotFound)?;
        let sent = parts.headers.get(KEY).and_then(|value| value.to_str().ok());
        let is_valid = sent.is_some_and(|sent| is_same_secret(sent, key.expose_secret()));
        if is_valid { Ok(Self) } else { Err(Error::PlatformKeyInvalid) }
    }
}

/// Tenant named in the path. A malformed number is a tenant that doesn't exist.
pub(crate) struct OfTenant(pub TenantId);

impl<S: Send + Sync> FromRequestParts<S> for OfTenant {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<i32>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(number)| TenantId::new(number));
        id.map(Self).ok_or(Error::TenantNotFound)
    }
}

impl IntoParams for OfTenant {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let number = json!({ "type": "integer", "format": "int32", "minimum": 1 });
        vec![in_path("id", "The number of the tenant.", schema(&number))]
    }
}
