//! Issuers of tokens.

use std::num::NonZeroU32;

use secrecy::SecretString;

use platform::variables::{ConfigError, Variables};

/// Settings of all issuers.
#[derive(Clone, Debug)]
pub struct TokensConfig {
    /// Issuer of the customers.
    pub cognito: Option<CognitoConfig>,
    /// Issuer of the professionals.
    pub django: Option<DjangoConfig>,
    /// Maximum age of a token in seconds.
    pub max_age: Option<NonZeroU32>,
}

impl TokensConfig {
    /// Reads the settings.
    pub fn read(variables: &Variables) -> Result<Self, ConfigError> {
        Ok(Self {
            cognito: CognitoConfig::read(variables)?,
            django: DjangoConfig::read(variables)?,
            max_age: max_token_age(variables)?,
        })
    }
}

/// Issuer of customers' tokens.
#[derive(Clone, Debug)]
pub struct CognitoConfig {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// App clients whose tokens are accepted. Empty: any client of the pool.
    pub client_ids: Vec<String>,
}

/// Issuer of dentists' tokens.
#[derive(Clone, Debug)]
pub struct DjangoConfig {
    /// Shared secret of HS256.
    pub secret: Option<SecretString>,
    /// Address of the key set.
    pub jwks_url: Option<String>,
    /// The `iss` of its tokens.
    pub issuer: Option<String>,
}

impl CognitoConfig {
    /// Address of the pool's key set.
    pub fn key_set(&self) -> String {
        format!("{}/.well-known/jwks.json", self.issuer)
    }

    /// `None` if customers have no issuer.
    pub fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let client_ids = variables.list("COGNITO_CLIENT_IDS");
        if variables.text("COGNITO_ISSUER").is_some() {
            let issuer = variables.url("COGNITO_ISSUER")?.unwrap_or_default();
            return Ok(Some(Self { issuer, client_ids }));
        }
        let Some(pool) = variables.text("COGNITO_USER_POOL_ID") else { return Ok(None) };
        let region = variables.text("COGNITO_REGION").or(variables.text("AWS_REGION"));
        let region = region.ok_or_else(|| {
            variables.unset("COGNITO_REGION", "is required with COGNITO_USER_POOL_ID")
        })?;
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{pool}");
        Ok(Some(Self { issuer, client_ids }))
    }
}

impl DjangoConfig {
    /// `None` if dentists have no issuer.
    pub fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let secret = variables.secret("DJANGO_JWT_SECRET");
        if variables.text("DJANGO_JWT_SECRET").is_some_and(|secret| secret.len() < 16) {
            return Err(Variables::error("DJANGO_JWT_SECRET", "must have at least 16 characters"));
        }
        let jwks_url = variables.url("DJANGO_JWKS_URL")?;
        let issuer = variables.text("DJANGO_ISSUER").map(str::to_owned);
        Ok((secret.is_some() || jwks_url.is_some()).then_some(Self { secret, jwks_url, issuer }))
    }
}

/// Extent of the development issuer.
#[derive(Clone, Copy, Debug)]
pub struct DevelopmentConfig {
    /// Whether other machines may request tokens too.
    pub beyond_loopback: bool,
    /// Whether it also issues tokens of admins.
    pub admins: bool,
}

impl DevelopmentConfig {
    /// Reads the settings.
    pub fn read(variables: &Variables) -> Result<Self, ConfigError> {
        Ok(Self {
            beyond_loopback: variables.flag("DEV_ISSUER")?,
            admins: variables.flag("DEV_ADMIN")?,
        })
    }
}

/// Maximum age of a token in seconds. `None`: only the token's own end counts.
fn max_token_age(variables: &Variables) -> Result<Option<NonZeroU32>, ConfigError> {
    let unit = "seconds; 0: no limit";
    variables.number("MAX_TOKEN_AGE_S", 0, 0..=u32::MAX, unit).map(NonZeroU32::new)
}
