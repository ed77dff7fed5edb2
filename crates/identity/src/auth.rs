//! Verification of bearer tokens.
//!
//! The verifier is chosen by the token's `alg` and `iss` together, never by `alg` alone: an HS256 token
//! never reaches a key set, an RS256 token never a secret, and `none` reaches nothing. A token's own
//! key fields (`jku`, `x5u`, `jwk`) are not read.

mod bearer;
mod cognito;
pub mod config;
pub mod counts;
mod django;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod issuers;
mod jwks;
pub mod minting;
#[cfg(test)]
mod tests;

use std::{num::NonZeroU32, sync::Arc};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{FutureExt, future::BoxFuture};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};

pub use bearer::{SUBPROTOCOL, from_handshake, from_headers};

use self::config::TokensConfig;
use crate::auth::counts::KeySetCounts;
use cognito::Cognito;
use django::Django;
use issuers::{IssuerConfig, Issuers, TenantIssuer};
use jwks::{KeySetClients, KeySets};
use model::{ids::TenantId, scope::Scope};
use platform::tasks::Tasks;
use protocol::error::Error;

/// Maximum size of a token in bytes. Cognito's tokens with many groups have about 4,000.
const TOKEN_MAX: usize = 8_192;
/// Maximum length of a key id in bytes.
const KID_MAX: usize = 128;
/// Tolerated clock difference in seconds.
pub const LEEWAY: i64 = 60;

/// Bearer of a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The person, with their rights.
    pub scope: Scope,
    /// End of the token, in seconds since 1970.
    pub expires_at: i64,
}

/// Reason for rejecting a token. No variant holds a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no token.
    #[error("no token")]
    Missing,
    /// The token is not valid, for this reason.
    #[error("{0}")]
    Invalid(&'static str),
    /// The token has expired.
    #[error("expired")]
    Expired,
    /// The person is blocked.
    #[error("blocked")]
    Blocked,
    /// The person's tenant is suspended.
    #[error("its tenant is suspended")]
    TenantSuspended,
    /// The issuer's keys can't be fetched.
    #[error("the issuer's keys are not available")]
    IssuerUnavailable,
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing => Self::TokenMissing,
            AuthError::Invalid(reason) => Self::TokenInvalid(reason),
            AuthError::Expired => Self::TokenExpired,
            AuthError::Blocked => Self::Blocked,
            AuthError::TenantSuspended => Self::TenantSuspended,
            AuthError::IssuerUnavailable => Self::IssuerUnavailable,
        }
    }
}

/// Verifier of the tokens of all issuers: those of the environment, which are tenant main's, and those of the
/// other tenants.
#[derive(Debug)]
pub struct Verifier {
    cognito: Option<Cognito>,
    django: Option<Django>,
    /// Both, to compare the tenants' with.
    mains: Vec<IssuerConfig>,
    tenants: Issuers,
    /// Maximum age of a token in seconds.
    max_age: Option<i64>,
}

/// Fields that are read before the signature is checked. They choose the verifier and its key. The time of
/// issue is used only after the check.
struct Unverified<'a> {
    token: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    issuer: Option<String>,
    /// Time of issue, in seconds since 1970.
    issued_at: Option<i64>,
}

/// End of a token in seconds since 1970, at most the last representable time (in the year 9999).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends(i64);

impl<'de> Deserialize<'de> for Ends {
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let whole = number.as_u64().map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
        let seconds = whole.or_else(|| number.as_f64().map(|seconds| seconds.round() as i64));
        let last = jiff::Timestamp::MAX.as_second();
        match seconds {
            Some(seconds) if seconds >= 0 => Ok(Self(seconds.min(last))),
            _ => Err(D::Error::custom("no time")),
        }
    }
}

/// The signature is not by the key that was tried.
const WRONG_SIGNATURE: AuthError = AuthError::Invalid("its signature does not match its key");

impl Verifier {
    /// Fetches no key set yet. Key sets are fetched when they are first needed.
    pub fn new(
        config: &TokensConfig,
        [cognito, django]: [KeySetCounts; 2],
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let clients = KeySetClients::new()?;
        let key_sets = [cognito, django].map(|counts| {
            let (clients, tasks) = (clients.clone(), tasks.clone());
            KeySets { clients, counts, tasks }
        });
        let [of_cognito, of_django] = &key_sets;
        let main = TenantId::MAIN;
        let cognito = config.cognito.as_ref();
        let django = config.django.as_ref();
        Ok(Self {
            cognito: cognito.map(|config| Cognito::new(main, config, of_cognito)),
            django: django.map(|config| Django::new(main, config, of_django)),
            max_age: config.max_age.map(NonZeroU32::get).map(i64::from),
            mains: [
                cognito.cloned().map(IssuerConfig::Cognito),
                django.cloned().map(IssuerConfig::Django),
            ]
            .into_iter()
            .flatten()
            .collect(),
            tenants: Issuers::new(key_sets),
        })
    }

    /// Replaces the issuers of all tenants but main.
    pub fn set_issuers(&self, issuers: Vec<TenantIssuer>) {
        self.tenants.set(issuers);
    }

    /// Whether an issuer of the environment has this name.
    pub fn is_mains(&self, name: &str) -> bool {
        self.cognito.as_ref().is_some_and(|cognito| cognito.is_named(name))
            || self.django.as_ref().is_some_and(|django| django.is_named(name))
    }

    /// Whether an issuer of the environment has the same secret or key set: main's Django without `DJANGO_ISSUER` would
    /// take a tenant's tokens for main's.
    pub fn shares_a_key_with_main(&self, config: &IssuerConfig) -> bool {
        self.mains.iter().any(|main| main.shares_a_key(config))
    }

    /// Whether an issuer of another tenant has the same secret.
    pub fn is_anothers_secret(&self, tenant: TenantId, config: &IssuerConfig) -> bool {
        self.tenants.is_anothers_secret(tenant, config)
    }

    /// Whether the tokens of a tenant's issuer can be verified on this node.
    pub fn is_usable(&self, name: &str) -> bool {
        self.tenants.is_usable(name)
    }

    /// One fetch per key set, named by the group of users. Each returns the number of usable keys.
    pub fn fetches(&self) -> Vec<(&'static str, BoxFuture<'static, anyhow::Result<usize>>)> {
        let contacts = self.cognito.as_ref().map(|cognito| ("customers", cognito.keys()));
        let agents = self.django.as_ref().and_then(|django| Some(("dentists", django.keys()?)));
        let sets = contacts.into_iter().chain(agents);
        sets.map(|(whose, keys)| (whose, async move { keys.probe().await }.boxed())).collect()
    }

    /// Verifies a token and returns its bearer.
    pub async fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let token = Unverified::parse(token)?;
        let identity = self.verify_by_issuer(&token).await?;
        match self.max_age {
            Some(max_age) => token.within_age(identity, max_age),
            None => Ok(identity),
        }
    }

    async fn verify_by_issuer(&self, token: &Unverified<'_>) -> Result<Identity, AuthError> {
        // Main's Django may name no issuer, so every other one is tried first.
        if let Some(outcome) = self.tenants.verify(token).await {
            return outcome;
        }
        let name = token.issuer.as_deref().unwrap_or_default();
        match (&self.cognito, &self.django) {
            (Some(cognito), _) if cognito.is_named(name) => cognito.verify(token).await,
            (_, Some(django)) => django.verify(token).await,
            _ => Err(AuthError::Invalid("its issuer is unknown")),
        }
    }
}

impl<'a> Unverified<'a> {
    fn parse(token: &'a str) -> Result<Self, AuthError> {
        // The parser refuses a duplicate field, here and in the claims.
        #[derive(Deserialize)]
        struct Header {
            alg: Algorithm,
            #[serde(default)]
            kid: Option<String>,
            #[serde(default)]
            crit: Option<serde_json::Value>,
        }
        #[derive(Deserialize)]
        struct Claims {
            #[serde(default)]
            iss: Option<String>,
            #[serde(default)]
            iat: Option<serde_json::Value>,
        }
        if token.len() > TOKEN_MAX {
            return Err(AuthError::Invalid("it is too long"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(_signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(AuthError::Invalid("it does not have three parts"));
        };
        let header: Header = part(header)
            .ok_or(AuthError::Invalid("its header is not valid, or names an unknown algorithm"))?;
        if header.crit.is_some() {
            return Err(AuthError::Invalid("it has unknown critical extensions"));
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > KID_MAX) {
            return Err(AuthError::Invalid("its key id is too long"));
        }
        let claims: Claims = part(claims).ok_or(AuthError::Invalid("its claims can't be read"))?;
        let issued_at = claims.iat.and_then(|iat| seconds(&iat));
        Ok(Self { token, algorithm: header.alg, kid: header.kid, issuer: claims.iss, issued_at })
    }

    /// Limits the identity's end to the maximum age of the token.
    fn within_age(&self, identity: Identity, max_age: i64) -> Result<Identity, AuthError> {
        let issued_at = self.issued_at.ok_or(AuthError::Invalid("it has no iat"))?;
        let now = jiff::Timestamp::now().as_second();
        if issued_at > now.saturating_add(LEEWAY) {
            return Err(AuthError::Invalid("it is not issued yet"));
        }
        let expires_at = identity.expires_at.min(issued_at.saturating_add(max_age));
        if expires_at.saturating_add(LEEWAY) < now {
            return Err(AuthError::Expired);
        }
        Ok(Identity { expires_at, ..identity })
    }

    /// The same as [`Self::claims`], with the first of these keys that fits the signature.
    fn claims_by<T: DeserializeOwned>(&self, keys: &[Arc<DecodingKey>]) -> Result<T, AuthError> {
        let mut read = Err(WRONG_SIGNATURE);
        for key in keys {
            read = self.claims(key);
            if !matches!(&read, Err(error) if *error == WRONG_SIGNATURE) {
                break;
            }
        }
        read
    }

    /// Checks the signature and the times, and returns the claims.
    fn claims<T: DeserializeOwned>(&self, key: &DecodingKey) -> Result<T, AuthError> {
        let mut validation = Validation::new(self.algorithm);
        validation.leeway = LEEWAY.unsigned_abs();
        validation.validate_nbf = true;
        // Each issuer checks the audience by its own rule.
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode(self.token, key, &validation);
        decoded.map(|token| token.claims).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => AuthError::Expired,
            ErrorKind::ImmatureSignature => AuthError::Invalid("it is not valid yet"),
            ErrorKind::InvalidSignature
            | ErrorKind::InvalidRsaKey(_)
            | ErrorKind::InvalidEcdsaKey
            | ErrorKind::InvalidKeyFormat
            | ErrorKind::Provider(_) => WRONG_SIGNATURE,
            ErrorKind::MissingRequiredClaim(_) => AuthError::Invalid("it has no exp"),
            _ => AuthError::Invalid("its claims can't be read"),
        })
    }
}

/// Compares two secrets in constant time. Their lengths are no secret.
pub fn is_same_secret(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// Time of a claim: whole seconds, or seconds with a fraction.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
fn seconds(time: &serde_json::Value) -> Option<i64> {
    time.as_i64().or_else(|| time.as_f64().map(|seconds| seconds as i64))
}

fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}
