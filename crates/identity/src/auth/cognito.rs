//! Customers' tokens, issued by AWS Cognito: RS256, checked by the user pool's key set.
//!
//! <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html>

use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::{
    AuthError, Ends, Identity, Unverified,
    jwks::{Jwks, KeySets},
};
use crate::auth::config::CognitoConfig;
use model::{
    ids::TenantId,
    person::{Person, PersonId, Side},
    scope::{Grants, Scope},
};

#[derive(Debug)]
pub(super) struct Cognito {
    tenant: TenantId,
    issuer: String,
    client_ids: Vec<String>,
    keys: Arc<Jwks>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: PersonId,
    exp: Ends,
    token_use: String,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    aud: Option<String>,
    #[serde(default, rename = "cognito:groups")]
    groups: Vec<String>,
}

impl Cognito {
    pub(super) fn new(tenant: TenantId, config: &CognitoConfig, key_sets: &KeySets) -> Self {
        Self {
            tenant,
            issuer: config.issuer.clone(),
            client_ids: config.client_ids.clone(),
            keys: key_sets.open(config.key_set()),
        }
    }

    /// Stores these keys as if they had been fetched.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn keep(&self, set: super::jwks::KeySet) {
        self.keys.keep(set);
    }

    pub(super) fn keys(&self) -> Arc<Jwks> {
        Arc::clone(&self.keys)
    }

    /// Whether this is the `iss` of its tokens.
    pub(super) fn is_named(&self, issuer: &str) -> bool {
        self.issuer == issuer
    }

    pub(super) async fn verify(&self, token: &Unverified<'_>) -> Result<Identity, AuthError> {
        if token.algorithm != Algorithm::RS256 {
            return Err(AuthError::Invalid("its algorithm is not one of its issuer's"));
        }
        let claims: Claims = self.keys.claims(token).await?;
        if claims.iss != self.issuer {
            return Err(AuthError::Invalid("it is from another issuer"));
        }
        let client = match claims.token_use.as_str() {
            "access" => claims.client_id,
            "id" => claims.aud,
            _ => return Err(AuthError::Invalid("its token_use is neither access nor id")),
        };
        if !self.client_ids.is_empty() && !client.is_some_and(|id| self.client_ids.contains(&id)) {
            return Err(AuthError::Invalid("it was issued to another client"));
        }
        let person = Person::new(self.tenant, Side::Contact, claims.sub);
        let admin = claims.groups.iter().any(|group| group == "admin");
        let scope = Scope::new(person, Grants { admin });
        Ok(Identity { scope, expires_at: claims.exp.0 })
    }
}
