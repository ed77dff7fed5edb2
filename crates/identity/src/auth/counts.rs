//! Tokens, and the key sets that verify them.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::auth::AuthError;
use platform::metrics::{Label, counters};

/// Checked tokens, by outcome.
#[derive(Clone, Debug)]
pub struct Tokens {
    good: Counter,
    missing: Counter,
    invalid: Counter,
    expired: Counter,
    blocked: Counter,
    tenant_suspended: Counter,
    issuer_unavailable: Counter,
}

impl Tokens {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let outcomes = [
            "good",
            "missing",
            "invalid",
            "expired",
            "blocked",
            "tenant_suspended",
            "issuer_unavailable",
        ];
        let help = "Checked tokens, by outcome";
        let [good, missing, invalid, expired, blocked, tenant_suspended, issuer_unavailable] =
            counters(registry, "tokens", help, "outcome", outcomes);
        Self { good, missing, invalid, expired, blocked, tenant_suspended, issuer_unavailable }
    }

    /// Counts the outcome of a check.
    pub fn count<T>(&self, outcome: &Result<T, AuthError>) {
        let counter = match outcome {
            Ok(_) => &self.good,
            Err(AuthError::Missing) => &self.missing,
            Err(AuthError::Invalid(_)) => &self.invalid,
            Err(AuthError::Expired) => &self.expired,
            Err(AuthError::Blocked) => &self.blocked,
            Err(AuthError::TenantSuspended) => &self.tenant_suspended,
            Err(AuthError::IssuerUnavailable) => &self.issuer_unavailable,
        };
        counter.inc();
    }
}

/// Fetches of one issuer's key set, by outcome.
#[derive(Clone, Debug, Default)]
pub struct KeySetCounts {
    /// Fetched key sets.
    pub fetched: Counter,
    /// Fetches that failed.
    pub failed: Counter,
    /// Time of the last successful fetch, in seconds since 1970.
    pub(crate) fetched_at: Gauge,
}

/// Counters of Cognito and of Django.
pub fn key_sets(registry: &mut Registry) -> [KeySetCounts; 2] {
    let fetches = Family::<[(&'static str, &'static str); 2], Counter>::default();
    let fetched_at = Family::<Label, Gauge>::default();
    let sets = ["cognito", "django"].map(|issuer| KeySetCounts {
        fetched: fetches.get_or_create_owned(&[("issuer", issuer), ("outcome", "fetched")]),
        failed: fetches.get_or_create_owned(&[("issuer", issuer), ("outcome", "failed")]),
        fetched_at: fetched_at.get_or_create_owned(&[("issuer", issuer)]),
    });
    registry.register("key_set_fetches", "Fetches of key sets, by issuer and outcome", fetches);
    let help = "Time of the last successful fetch of a key set, since 1970; 0: never";
    registry.register("key_set_fetched_timestamp_seconds", help, fetched_at);
    sets
}
