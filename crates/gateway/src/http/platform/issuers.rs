//! `/api/platform/tenants/{id}/issuers`

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, request::Parts},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};
use uuid::Uuid;

use super::{OfTenant, Operator};
use crate::{
    Gateway,
    http::{cursor::Page, request::Json},
};
use identity::tenants::{NewIssuer, table};
use model::{
    ids::TenantId,
    tenant::{IssuerKind, IssuerName},
};
use platform::{
    openapi::{in_path, schema},
    tls::is_plain_beyond_this_machine,
    variables::is_plain_url,
};
use protocol::{
    error::Error,
    problems::{BadIssuer, Body, NoIssuerThere, NoTenant, PlatformKey, Problems},
};

/// Limits of an issuer's parts.
const CLIENTS_MAX: usize = 50;
const CLIENT_MAX_CHARS: usize = 128;
const URL_MAX_CHARS: usize = 2_000;
/// RFC 7518, section 3.2: the key of HS256 has 32 bytes or more.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 32..=1_000;

/// An issuer of a tenant's tokens. Its secret is not shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Issuer {
    #[schema(value_type = Uuid)]
    id: Uuid,
    kind: IssuerKind,
    #[serde(rename = "issuer")]
    name: IssuerName,
    /// App clients whose tokens are accepted. Empty: any.
    client_ids: Vec<String>,
    #[schema(required)]
    jwks_url: Option<String>,
    /// Whether it has a shared secret.
    has_secret: bool,
    /// False if this node can't verify its tokens: the log says why. They are answered 503 `issuer_unavailable`.
    usable: bool,
}

impl Issuer {
    fn of(issuer: table::Issuer, gateway: &Gateway) -> Self {
        let usable = gateway.chat.admission.tenants.is_usable(&issuer);
        let table::Issuer { id, kind, name, client_ids, jwks_url, secret, .. } = issuer;
        Self { id, kind, name, client_ids, jwks_url, has_secret: secret.is_some(), usable }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewIssuer)]
pub(crate) struct New {
    kind: IssuerKind,
    /// The `iss` of its tokens; of Cognito the URL of the pool, below which its key set is.
    issuer: IssuerName,
    /// Of Cognito: app clients whose tokens are accepted. Empty: any client of the pool.
    #[serde(default)]
    #[schema(required = false)]
    client_ids: Vec<String>,
    /// Of Django: address of its key set, for RS256 and ES256.
    #[serde(default)]
    #[schema(required = false)]
    jwks_url: Option<String>,
    /// Of Django: secret of HS256, 32 to 1,000 bytes. It needs `SECRETS_KEY`.
    #[serde(default, deserialize_with = "hidden")]
    #[schema(required = false, value_type = Option<String>, min_length = 32, max_length = 1000)]
    secret: Option<SecretString>,
}

impl New {
    /// `plain_issuers`: keys may come over http from another machine.
    pub(crate) fn parsed(self, plain_issuers: bool) -> Result<NewIssuer, Error> {
        let Self { kind, issuer, client_ids, jwks_url, secret } = self;
        match kind {
            IssuerKind::Cognito => {
                is_url("issuer", issuer.as_str(), plain_issuers)?;
                if jwks_url.is_some() || secret.is_some() {
                    return Err(Error::invalid("kind", "cognito has no jwksUrl and no secret"));
                }
                let fits = |id: &String| (1..=CLIENT_MAX_CHARS).contains(&id.chars().count());
                if client_ids.len() > CLIENTS_MAX || !client_ids.iter().all(fits) {
                    return Err(Error::invalid(
                        "clientIds",
                        "must be at most 50 texts of 1 to 128 characters",
                    ));
                }
            }
            IssuerKind::Django => {
                if !client_ids.is_empty() {
                    return Err(Error::invalid("clientIds", "django has no clientIds"));
                }
                if jwks_url.is_none() && secret.is_none() {
                    return Err(Error::invalid("kind", "django must have jwksUrl or secret"));
                }
                jwks_url.as_deref().map_or(Ok(()), |url| is_url("jwksUrl", url, plain_issuers))?;
                is_secret(secret.as_ref())?;
            }
        }
        Ok(NewIssuer { kind, name: issuer, client_ids, jwks_url, secret })
    }
}

fn is_url(field: &'static str, text: &str, plain_issuers: bool) -> Result<(), Error> {
    let is_odd = text.ends_with('/') || text.contains(['?', '#']);
    if !is_plain_url(text) || text.chars().count() > URL_MAX_CHARS || is_odd {
        let problem = "must be a URL that starts with https:// or http://, without a user, a password, a query \
                       and a slash at its end";
        return Err(Error::invalid(field, problem));
    }
    if !plain_issuers && is_plain_beyond_this_machine(text) {
        return Err(Error::invalid(
            field,
            "must start with https://, unless ALLOW_INSECURE has http-issuer",
        ));
    }
    Ok(())
}

/// Parses a secret into a type that is not printed.
fn hidden<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Into::into))
}

fn is_secret(secret: Option<&SecretString>) -> Result<(), Error> {
    let fits = secret.is_none_or(|it| SECRET_BYTES.contains(&it.expose_secret().len()));
    if fits { Ok(()) } else { Err(Error::invalid("secret", "must have 32 to 1,000 bytes")) }
}

/// Adds an issuer: its tokens are those of the tenant's people. A Cognito pool is of customers, Django of
/// professionals. An `issuer` belongs to one tenant.
#[utoipa::path(
    post, path = "", tag = "issuers", security(("platform" = [])), params(OfTenant), request_body = New,
    responses(
        (status = 201, body = Issuer, description = "The issuer. Every node knows it within a second."),
        Problems<(PlatformKey, NoTenant, Body, BadIssuer)>,
    )
)]
pub(crate) async fn add(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    OfTenant(tenant): OfTenant,
    Json(new): Json<New>,
) -> Result<(StatusCode, JsonBody<Issuer>), Error> {
    let new = new.parsed(gateway.config.plain_issuers)?;
    let issuer = gateway.chat.admission.tenants.add_issuer(tenant, new).await?;
    tracing::info!(tenant = tenant.number(), issuer = %issuer.id, "issuer added");
    Ok((StatusCode::CREATED, JsonBody(Issuer::of(issuer, &gateway))))
}

/// The issuers of a tenant, at most 20, the oldest first. Those of `main` are set by environment variables and not
/// listed.
#[utoipa::path(
    get, path = "", tag = "issuers", security(("platform" = [])), params(OfTenant),
    responses((status = 200, body = Page<Issuer>, description = "All its issuers, in one page."), Problems<(PlatformKey, NoTenant)>)
)]
pub(crate) async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    OfTenant(tenant): OfTenant,
) -> Result<JsonBody<Page<Issuer>>, Error> {
    let issuers = gateway.chat.admission.tenants.issuers(tenant).await?;
    let items = issuers.into_iter().map(|issuer| Issuer::of(issuer, &gateway)).collect();
    Ok(JsonBody(Page { items, next_cursor: None }))
}

/// Tenant and issuer named in the path. A malformed id is an issuer that doesn't exist.
pub(crate) struct OfIssuer(TenantId, Uuid);

impl<S: Send + Sync> FromRequestParts<S> for OfIssuer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Ok(Path((number, id))) = path else { return Err(Error::IssuerNotFound) };
        let tenant = number.parse().ok().and_then(TenantId::new).ok_or(Error::TenantNotFound)?;
        id.parse().map(|id| Self(tenant, id)).map_err(|_| Error::IssuerNotFound)
    }
}

impl IntoParams for OfIssuer {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut params = OfTenant::into_params(place);
        let id = schema(&json!({ "type": "string", "format": "uuid" }));
        params.push(in_path("issuer", "The issuer, of this tenant.", id));
        params
    }
}

/// Removes an issuer. Its tokens are refused from now on; open sockets stay until their tokens end. To cut them off
/// at once, suspend the tenant.
#[utoipa::path(
    delete, path = "", tag = "issuers", security(("platform" = [])), params(OfIssuer),
    responses((status = 204, description = "The issuer is removed."), Problems<(PlatformKey, NoTenant, NoIssuerThere)>)
)]
pub(crate) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
    OfIssuer(tenant, id): OfIssuer,
) -> Result<StatusCode, Error> {
    gateway.chat.admission.tenants.remove_issuer(tenant, id).await?;
    tracing::info!(tenant = tenant.number(), issuer = %id, "issuer removed");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine_unless_it_is_allowed() {
        let parsed = |body: &str, plain| {
            protocol::object::<New>(body.as_bytes()).and_then(|new| new.parsed(plain)).is_ok()
        };
        let bodies = |url: &str| {
            [
                format!(r#"{{"kind":"cognito","issuer":"{url}"}}"#),
                format!(r#"{{"kind":"django","issuer":"a","jwksUrl":"{url}"}}"#),
            ]
        };
        for body in bodies("http://10.1.2.3/keys") {
            assert!(!parsed(&body, false) && parsed(&body, true), "{body}");
        }
        for url in ["https://keys.example/a", "http://127.0.0.1:9/a"] {
            for body in bodies(url) {
                assert!(parsed(&body, false), "{body}");
            }
        }
    }
}
