//! The issuers of tokens.

use secrecy::SecretString;

use super::{ConfigError, variables::Variables};

/// The customers' issuer.
#[derive(Clone, Debug)]
pub(crate) struct CognitoConfig {
    pub(crate) issuer: String,
    /// App clients whose tokens are taken; empty: any of the pool.
    pub(crate) client_ids: Vec<String>,
}

/// The dentists' issuer.
#[derive(Clone, Debug)]
pub(crate) struct DjangoConfig {
    pub(crate) secret: Option<SecretString>,
    pub(crate) jwks_url: Option<String>,
    pub(crate) issuer: Option<String>,
}

impl CognitoConfig {
    /// `None` where customers have no issuer.
    pub(super) fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let client_ids = variables.list("COGNITO_CLIENT_IDS");
        if variables.text("COGNITO_ISSUER").is_some() {
            let issuer = variables.url("COGNITO_ISSUER")?.unwrap_or_default();
            return Ok(Some(Self { issuer, client_ids }));
        }
        let Some(pool) = variables.text("COGNITO_USER_POOL_ID") else { return Ok(None) };
        let region = variables.text("COGNITO_REGION").or(variables.text("AWS_REGION"));
        let region = region.ok_or_else(|| {
            Variables::error("COGNITO_REGION", "is needed where COGNITO_USER_POOL_ID is set")
        })?;
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{pool}");
        Ok(Some(Self { issuer, client_ids }))
    }
}

impl DjangoConfig {
    /// `None` where dentists have no issuer.
    pub(super) fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let secret = variables.secret("DJANGO_JWT_SECRET");
        if variables.text("DJANGO_JWT_SECRET").is_some_and(|secret| secret.len() < 16) {
            return Err(Variables::error("DJANGO_JWT_SECRET", "must have at least 16 characters"));
        }
        let jwks_url = variables.url("DJANGO_JWKS_URL")?;
        let issuer = variables.text("DJANGO_ISSUER").map(str::to_owned);
        Ok((secret.is_some() || jwks_url.is_some()).then_some(Self { secret, jwks_url, issuer }))
    }
}
