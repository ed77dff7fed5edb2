//! The issuers of tenants but main: a token names its issuer, and the issuer its tenant.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{
    AuthError, Identity, Unverified,
    cognito::Cognito,
    config::{CognitoConfig, DjangoConfig},
    django::Django,
    is_same_secret,
    jwks::KeySets,
};
use model::{ids::TenantId, tenant::IssuerName};

/// An issuer of a tenant.
#[derive(Clone, Debug)]
pub struct TenantIssuer {
    /// Its id. Another issuer has another one.
    pub id: Uuid,
    /// The tenant of its tokens.
    pub tenant: TenantId,
    /// The `iss` of its tokens.
    pub name: IssuerName,
    /// How its tokens are verified.
    pub config: IssuerConfig,
}

/// How an issuer's tokens are verified.
#[derive(Clone, Debug)]
pub enum IssuerConfig {
    /// As of a user pool.
    Cognito(CognitoConfig),
    /// As of Django.
    Django(DjangoConfig),
    /// Not now: its secret can't be opened.
    Unusable,
}

impl IssuerConfig {
    /// Whether it has the secret of another one. Who knows it can sign for both.
    fn has_secret_of(&self, other: &Self) -> bool {
        let (Self::Django(one), Self::Django(other)) = (self, other) else { return false };
        one.secret
            .as_ref()
            .zip(other.secret.as_ref())
            .is_some_and(|(one, other)| is_same_secret(one.expose_secret(), other.expose_secret()))
    }

    /// Address of its key set, in one spelling.
    fn key_set(&self) -> Option<String> {
        let url = match self {
            Self::Cognito(config) => config.key_set(),
            Self::Django(config) => config.jwks_url.clone()?,
            Self::Unusable => return None,
        };
        Some(reqwest::Url::parse(&url).map_or(url, Into::into))
    }

    /// Whether it has the secret or the key set of another one.
    pub(super) fn shares_a_key(&self, other: &Self) -> bool {
        let key_set = self.key_set();
        self.has_secret_of(other) || (key_set.is_some() && key_set == other.key_set())
    }
}

/// Verifier of one issuer's tokens.
#[derive(Debug)]
enum Method {
    Cognito(Cognito),
    Django(Django),
    Unusable,
}

/// The issuers by the `iss` of their tokens.
#[derive(Debug)]
pub(super) struct Issuers {
    by_name: RwLock<HashMap<String, Arc<(TenantIssuer, Method)>>>,
    key_sets: [KeySets; 2],
}

impl Issuers {
    pub(super) fn new(key_sets: [KeySets; 2]) -> Self {
        Self { by_name: RwLock::default(), key_sets }
    }

    /// Replaces all issuers. One that stays keeps its key set.
    pub(super) fn set(&self, issuers: Vec<TenantIssuer>) {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *by_name);
        for issuer in issuers {
            let name = issuer.name.as_str().to_owned();
            let stays = before
                .remove(&name)
                .filter(|known| known.0.id == issuer.id && !matches!(known.1, Method::Unusable));
            let known = stays.unwrap_or_else(|| {
                let method = self.method(&issuer);
                Arc::new((issuer, method))
            });
            by_name.insert(name, known);
        }
    }

    fn method(&self, issuer: &TenantIssuer) -> Method {
        let ([cognito, django], tenant) = (&self.key_sets, issuer.tenant);
        match &issuer.config {
            IssuerConfig::Cognito(config) => Method::Cognito(Cognito::new(tenant, config, cognito)),
            IssuerConfig::Django(config) => Method::Django(Django::new(tenant, config, django)),
            IssuerConfig::Unusable => Method::Unusable,
        }
    }

    /// Whether an issuer of another tenant has the same secret.
    pub(super) fn is_anothers_secret(&self, tenant: TenantId, config: &IssuerConfig) -> bool {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let mut others = by_name.values().filter(|known| known.0.tenant != tenant);
        others.any(|known| known.0.config.has_secret_of(config))
    }

    /// Whether an issuer's tokens can be verified.
    pub(super) fn is_usable(&self, name: &str) -> bool {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.get(name).is_some_and(|known| !matches!(known.1, Method::Unusable))
    }

    /// Verifies a token of a tenant's issuer. `None` if its issuer is no tenant's.
    pub(super) async fn verify(
        &self,
        token: &Unverified<'_>,
    ) -> Option<Result<Identity, AuthError>> {
        let name = token.issuer.as_ref()?;
        let known = self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        Some(match &known?.1 {
            Method::Cognito(cognito) => cognito.verify(token).await,
            Method::Django(django) => django.verify(token).await,
            Method::Unusable => Err(AuthError::IssuerUnavailable),
        })
    }
}
