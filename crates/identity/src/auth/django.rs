//! Dentists' tokens, issued by Django with SimpleJWT: HS256 with a shared secret, or RS256 and ES256
//! through a key set.
//!
//! <https://django-rest-framework-simplejwt.readthedocs.io/en/latest/settings.html>

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{
    AuthError, Ends, Identity, Unverified,
    jwks::{Jwks, KeySets},
};
use crate::auth::config::DjangoConfig;
use model::{
    ids::TenantId,
    person::{Person, PersonId, Side},
    scope::{Grants, Scope},
};

pub(super) struct Django {
    tenant: TenantId,
    secret: Option<DecodingKey>,
    keys: Option<Arc<Jwks>>,
    issuer: Option<String>,
}

/// Law I14: the secret is not printed.
impl std::fmt::Debug for Django {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Django").field("keys", &self.keys).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: Option<String>,
    exp: Ends,
    token_type: String,
    user_id: PersonId,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    is_staff: bool,
}

impl Django {
    pub(super) fn new(tenant: TenantId, config: &DjangoConfig, key_sets: &KeySets) -> Self {
        let secret = config.secret.as_ref();
        Self {
            tenant,
            secret: secret.map(|key| DecodingKey::from_secret(key.expose_secret().as_bytes())),
            keys: config.jwks_url.clone().map(|url| key_sets.open(url)),
            issuer: config.issuer.clone(),
        }
    }

    /// Whether this is the `iss` of its tokens. Without one configured, no name is its own.
    pub(super) fn is_named(&self, issuer: &str) -> bool {
        self.issuer.as_deref() == Some(issuer)
    }

    pub(super) fn keys(&self) -> Option<Arc<Jwks>> {
        self.keys.clone()
    }

    pub(super) async fn verify(&self, token: &Unverified<'_>) -> Result<Identity, AuthError> {
        let claims: Claims = match (token.algorithm, &self.secret, &self.keys) {
            (Algorithm::HS256, Some(secret), _) => token.claims(secret)?,
            (Algorithm::RS256 | Algorithm::ES256, _, Some(keys)) => keys.claims(token).await?,
            _ => return Err(AuthError::Invalid("its algorithm is not one of its issuer's")),
        };
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err(AuthError::Invalid("it is from another issuer"));
        }
        if claims.token_type != "access" {
            return Err(AuthError::Invalid("its token_type is not access"));
        }
        let person = Person::new(self.tenant, Side::Desk, claims.user_id);
        let admin = claims.is_staff || claims.role.as_deref() == Some("admin");
        let scope = Scope::new(person, Grants { admin });
        Ok(Identity { scope, expires_at: claims.exp.0 })
    }
}
