//! Tokens in the shape of both issuers, for development and for holders of an issuer's secret.

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use serde_json::json;

use model::person::{PersonId, Side};

/// Token and its end.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The signed token.
    pub token: String,
    expires_at: Timestamp,
}

/// Claims of a token.
pub struct Claims<'a> {
    /// Side of the desk.
    pub kind: Side,
    /// The person's id.
    pub id: &'a PersonId,
    /// Whether the token is of an administrator.
    pub admin: bool,
    /// The `iss`, if it has one.
    pub issuer: Option<&'a str>,
    /// App client of Cognito.
    pub client_id: &'a str,
}

impl Claims<'_> {
    /// Signs the claims. The token is valid for `lifetime`.
    pub fn sign(
        &self,
        lifetime: Duration,
        header: &Header,
        key: &EncodingKey,
    ) -> Result<Token, jsonwebtoken::errors::Error> {
        let now = Timestamp::now();
        let expires_at = now + lifetime;
        let (iat, exp) = (now.as_second(), expires_at.as_second());
        let mut claims = match self.kind {
            Side::Contact => json!({
                "sub": self.id, "token_use": "access", "client_id": self.client_id,
                "cognito:groups": if self.admin { &["admin"][..] } else { &[] },
            }),
            Side::Desk => json!({
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
