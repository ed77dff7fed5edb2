//! `frontdesk token`, for trials and load tests.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::ExposeSecret;

use super::{Kind, id, say};
use crate::config::Config;
use identity::auth::minting::{Claims, Token};
use model::person::{PersonId, Side};
use platform::variables::ConfigError;

#[derive(Args, Debug)]
pub(super) struct Ask {
    /// Kind of token: a customer's, a dentist's, or that of a dentist who is an admin
    #[arg(long)]
    kind: Kind,
    /// Id of the person: a customer's `sub`, a dentist's `user_id`
    #[arg(long, value_parser = id)]
    id: PersonId,
    /// Lifetime in seconds
    #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    ttl_s: u64,
    /// RSA key (a PEM file) to sign with instead: the key of your own issuer at `COGNITO_ISSUER` or
    /// `DJANGO_JWKS_URL`
    #[arg(long)]
    key: Option<PathBuf>,
    /// `kid` of the key in the issuer's key set
    #[arg(long, requires = "key")]
    key_id: Option<String>,
}

pub(super) fn run(ask: &Ask, config: Config) -> anyhow::Result<()> {
    let token = match &ask.key {
        Some(path) => {
            let pem = std::fs::read(path).with_context(|| path.display().to_string())?;
            let key = EncodingKey::from_rsa_pem(&pem);
            let key = key.with_context(|| format!("{}: not an RSA key", path.display()))?;
            let header = Header { kid: ask.key_id.clone(), ..Header::new(Algorithm::RS256) };
            sign(ask, &config, &header, &key)?
        }
        None if config.development_issuer() => development(ask, config)?,
        None => {
            let secret = config.tokens.django.as_ref().and_then(|django| django.secret.as_ref());
            match (secret, ask.person_kind()) {
                (Some(secret), Side::Desk) => {
                    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
                    sign(ask, &config, &Header::new(Algorithm::HS256), &key)?
                }
                (None, Side::Desk) => {
                    let problem = "is not set, and is needed to sign a dentist's token";
                    return Err(ConfigError::new("DJANGO_JWT_SECRET", problem).into());
                }
                (_, Side::Contact) => bail!(
                    "Cognito signs customers' tokens; with an issuer of your own, pass its key \
                     by --key (see --help)"
                ),
            }
        }
    };
    Ok(say(&token.token)?)
}

impl Ask {
    fn person_kind(&self) -> Side {
        match self.kind {
            Kind::Customer => Side::Contact,
            Kind::Dentist | Kind::Admin => Side::Desk,
        }
    }

    fn is_admin(&self) -> bool {
        matches!(self.kind, Kind::Admin)
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.ttl_s)
    }
}

fn sign(ask: &Ask, config: &Config, header: &Header, key: &EncodingKey) -> anyhow::Result<Token> {
    let (cognito, django) = (config.tokens.cognito.as_ref(), config.tokens.django.as_ref());
    let issuer = match ask.person_kind() {
        Side::Contact => cognito.map(|cognito| cognito.issuer.as_str()),
        Side::Desk => django.and_then(|django| django.issuer.as_deref()),
    };
    let client = cognito.and_then(|cognito| cognito.client_ids.first());
    let claims = Claims {
        kind: ask.person_kind(),
        id: &ask.id,
        admin: ask.is_admin(),
        issuer,
        client_id: client.map_or("frontdesk", String::as_str),
    };
    Ok(claims.sign(ask.lifetime(), header, key)?)
}

#[cfg(feature = "embedded")]
fn development(ask: &Ask, mut config: Config) -> anyhow::Result<Token> {
    use crate::embedded::issuer;
    // The token contains the issuer's URL with its port.
    if config.port == 0 {
        return Err(ConfigError::new(
            "PORT",
            "is 0 (any port), but a token contains the node's port: set it",
        )
        .into());
    }
    let port = config.port;
    let issuer = issuer::stand_in(&mut config, port)?.context("an issuer is configured")?;
    let whose = issuer::Ask { kind: ask.person_kind(), id: ask.id.clone(), admin: ask.is_admin() };
    issuer.issue(&whose, ask.lifetime()).context("the development key can't sign")
}

#[cfg(not(feature = "embedded"))]
fn development(_ask: &Ask, _config: Config) -> anyhow::Result<Token> {
    let problem = "is not set, and this build has no development issuer";
    Err(ConfigError::new("DJANGO_JWT_SECRET", problem).into())
}
