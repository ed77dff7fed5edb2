//! Tokens in the shape of both issuers, for development and for holders of an issuer's secret.

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use serde_json::json;

use crate::person::{PersonId, PersonKind};

/// Token and its end.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    pub(crate) token: String,
    expires_at: Timestamp,
}

/// Claims of a token.
pub(crate) struct Claims<'a> {
    pub(crate) kind: PersonKind,
    pub(crate) id: &'a PersonId,
    pub(crate) admin: bool,
    pub(crate) issuer: Option<&'a str>,
    /// App client of Cognito.
    pub(crate) client_id: &'a str,
}

impl Claims<'_> {
    /// Signs the claims. The token is valid for `lifetime`.
    pub(crate) fn sign(
        &self,
        lifetime: Duration,
        header: &Header,
        key: &EncodingKey,
    ) -> Result<Token, jsonwebtoken::errors::Error> {
        let now = Timestamp::now();
        let expires_at = now + lifetime;
        let (iat, exp) = (now.as_second(), expires_at.as_second());
        let mut claims = match self.kind {
            PersonKind::Customer => json!({
                "sub": self.id, "token_use": "access", "client_id": self.client_id,
                "cognito:groups": if self.admin { &["admin"][..] } else { &[] },
            }),
            PersonKind::Dentist => json!({
                "user_id": self.id, "token_type": "access", "is_staff": self.admin,
            }),
        };
        if let Some(claims) = claims.as_object_mut() {
            claims.extend([("iat".to_owned(), iat.into()), ("exp".to_owned(), exp.into())]);
            claims.extend(self.issuer.map(|issuer| ("iss".to_owned(), issuer.into())));
        }
        let token = jsonwebtoken::encode(header, &claims, key)?;
        Ok(Token { token, expires_at })
    }
}
