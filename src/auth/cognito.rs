//! Customers' tokens, issued by AWS Cognito: RS256, checked by the user pool's key set.
//!
//! <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html>

use std::sync::Arc;

use serde::Deserialize;

use super::{AuthError, Ends, Identity, Unverified, jwks::Jwks};
use crate::{
    auth::config::CognitoConfig,
    auth::counts::KeySetCounts,
    person::{Person, PersonId, PersonKind},
    platform::tasks::Tasks,
};

#[derive(Debug)]
pub(super) struct Cognito {
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
    pub(super) fn new(
        config: &CognitoConfig,
        counts: KeySetCounts,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            issuer: config.issuer.clone(),
            client_ids: config.client_ids.clone(),
            keys: Jwks::new(format!("{}/.well-known/jwks.json", config.issuer), counts, tasks)?,
        })
    }

    /// Stores these keys as if they had been fetched.
    #[cfg(all(any(test, feature = "fuzzing"), feature = "embedded"))]
    pub(super) fn keep(&self, set: super::jwks::KeySet) {
        self.keys.keep(set);
    }

    pub(super) fn keys(&self) -> Arc<Jwks> {
        Arc::clone(&self.keys)
    }

    /// Whether the token's `iss` names this pool. The signature is not checked yet.
    pub(super) fn issued(&self, token: &Unverified<'_>) -> bool {
        token.issuer.as_ref() == Some(&self.issuer)
    }

    pub(super) async fn verify(&self, token: &Unverified<'_>) -> Result<Identity, AuthError> {
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
        Ok(Identity {
            person: Person::new(PersonKind::Customer, claims.sub),
            admin: claims.groups.iter().any(|group| group == "admin"),
            expires_at: claims.exp.0,
        })
    }
}
