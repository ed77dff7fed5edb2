//! Cache of an issuer's key set (RFC 7517).
//!
//! Keys are kept while the issuer is unavailable. Unknown `kid`s cost at most one fetch every 10 s for
//! all requests together: requests that arrive during a fetch wait for it. Only a set fetched after a
//! token arrived can show that the token's key is unknown. Until then the issuer counts as unavailable,
//! so that an app retries after a key rotation and logs nobody out. A token without a `kid` is tried
//! with each key of its algorithm; its key is unknown if no signature fits.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;

use super::{AuthError, Unverified, WRONG_SIGNATURE};
use crate::auth::counts::KeySetCounts;
use platform::{tasks::Tasks, variables::without_query};

/// Minimum interval between fetches for unknown `kid`s.
const FETCH_EVERY: Duration = Duration::from_secs(10);
/// Minimum interval between fetches while there are no keys at all, so that no user can enter.
const FIRST_FETCH_EVERY: Duration = Duration::from_secs(1);
/// Age at which keys are fetched again in the background.
const FRESH: Duration = Duration::from_secs(3_600);
/// Time limit of a fetch, and maximum size of a key set.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const SET_MAX_BYTES: usize = 262_144;
/// Maximum number of keys tried on a token: those of its `kid`, or of its algorithm if it has none.
const KEYS_OF_A_TOKEN: usize = 4;

type Fetch = Shared<BoxFuture<'static, ()>>;

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    decoding: Arc<DecodingKey>,
}

/// Usable keys of a set, and the indexes of its unusable entries.
#[derive(Default)]
struct Keys {
    keys: Vec<Key>,
    skipped: Vec<usize>,
}

/// Key set as received. Entries are parsed separately: a malformed entry, or one of a newer kind,
/// leaves the others usable.
#[derive(Deserialize)]
pub(super) struct KeySet {
    keys: Vec<Value>,
}

pub(super) struct Jwks {
    url: String,
    http: reqwest::Client,
    counts: KeySetCounts,
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Keys,
    /// Time of the last successful fetch.
    fetched: Option<Instant>,
    /// Start time of the last fetch.
    tried: Option<Instant>,
    fetching: Option<Fetch>,
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Jwks({})", without_query(&self.url))
    }
}

/// HTTP clients for key sets. They follow no redirect, so that only the configured URLs are used.
#[derive(Clone, Debug)]
pub(super) struct KeySetClients {
    proxied: reqwest::Client,
    /// For an issuer on this machine, which no proxy reaches.
    direct: reqwest::Client,
}

impl KeySetClients {
    pub(super) fn new() -> anyhow::Result<Self> {
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(3))
                .timeout(FETCH_TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
        };
        Ok(Self { proxied: builder().build()?, direct: builder().no_proxy().build()? })
    }

    fn of(&self, url: &str) -> reqwest::Client {
        let url = reqwest::Url::parse(url).ok();
        let host = url.as_ref().and_then(reqwest::Url::host_str).unwrap_or_default();
        let local = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if local { self.direct.clone() } else { self.proxied.clone() }
    }
}

/// The parts that all key sets of one kind of issuer share.
#[derive(Clone, Debug)]
pub(super) struct KeySets {
    pub clients: KeySetClients,
    pub counts: KeySetCounts,
    pub tasks: Tasks,
}

impl KeySets {
    /// The key set at this address. It is fetched when it is first needed.
    pub(super) fn open(&self, url: String) -> Arc<Jwks> {
        let Self { clients, counts, tasks } = self.clone();
        Arc::new(Jwks { http: clients.of(&url), url, counts, tasks, state: Mutex::default() })
    }
}

impl Jwks {
    /// Stores these keys as if fetched, and fetches none for years.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn keep(&self, set: KeySet) {
        let mut state = self.state();
        let later = Some(Instant::now() + Duration::from_secs(1_000_000_000));
        *state = State { keys: Keys::read(set), fetched: later, tried: later, fetching: None };
    }

    /// Verifies a token with the keys of this set and returns its claims.
    pub(super) async fn claims<T: DeserializeOwned>(
        self: &Arc<Self>,
        token: &Unverified<'_>,
    ) -> Result<T, AuthError> {
        let (kid, asked) = (token.kid.as_deref(), Instant::now());
        if let Some(fetch) = self.fetch_for(self.knows(kid)) {
            fetch.await;
        }
        let claims = token.claims_by(&self.keys(kid, token.algorithm, asked)?);
        let is_unknown =
            kid.is_none() && matches!(&claims, Err(error) if *error == WRONG_SIGNATURE);
        if !is_unknown {
            return claims;
        }
        // The signing key may be newer than the cached keys.
        if let Some(fetch) = self.fetch_for(false) {
            fetch.await;
        }
        let claims = token.claims_by(&self.keys(kid, token.algorithm, asked)?);
        match claims {
            Err(WRONG_SIGNATURE) if !self.is_decided(asked) => Err(AuthError::IssuerUnavailable),
            claims => claims,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a cached key may have signed a token of this `kid`.
    fn knows(&self, kid: Option<&str>) -> bool {
        self.state().keys.of(kid).next().is_some()
    }

    /// Whether the set was fetched since then.
    fn is_decided(&self, asked: Instant) -> bool {
        self.state().fetched.is_some_and(|fetched| fetched >= asked)
    }

    /// Cached keys with this id and algorithm. A set may have several.
    fn keys(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        asked: Instant,
    ) -> Result<Vec<Arc<DecodingKey>>, AuthError> {
        if !self.knows(kid) {
            let unknown = AuthError::Invalid("its key is not in its issuer's key set");
            let is_decided = self.is_decided(asked);
            return Err(if is_decided { unknown } else { AuthError::IssuerUnavailable });
        }
        let state = self.state();
        let fitting = state.keys.of(kid).filter(|key| key.algorithm == algorithm);
        let fitting: Vec<_> =
            fitting.take(KEYS_OF_A_TOKEN).map(|key| Arc::clone(&key.decoding)).collect();
        if fitting.is_empty() {
            return Err(AuthError::Invalid("its algorithm is not the algorithm of its key"));
        }
        Ok(fitting)
    }

    /// Fetch to wait for if the key is unknown. Keys that are merely old are fetched without waiting.
    fn fetch_for(self: &Arc<Self>, known: bool) -> Option<Fetch> {
        let now = Instant::now();
        let mut state = self.state();
        if known && state.fetched.is_some_and(|at| now < at + FRESH) {
            return None;
        }
        let every = if state.fetched.is_some() { FETCH_EVERY } else { FIRST_FETCH_EVERY };
        if state.fetching.is_none() && state.tried.is_none_or(|at| now >= at + every) {
            state.tried = Some(now);
            let fetch = Arc::clone(self).fetch().boxed().shared();
            self.tasks.spawn_once("auth.key_set", fetch.clone());
            state.fetching = Some(fetch);
        }
        state.fetching.clone().filter(|_| !known)
    }

    async fn fetch(self: Arc<Self>) {
        let outcome = self.download().await;
        let mut state = self.state();
        state.fetching = None;
        match outcome {
            Ok(keys) => {
                self.counts.fetched.inc();
                self.counts.fetched_at.set(Timestamp::now().as_second());
                let url = without_query(&self.url);
                if keys.skipped != state.keys.skipped && !keys.skipped.is_empty() {
                    tracing::warn!(%url, entries = ?keys.skipped, "key set has unusable entries");
                }
                state.keys = keys;
                state.fetched = Some(Instant::now());
                tracing::info!(%url, keys = state.keys.keys.len(), "key set fetched");
            }
            Err(error) => {
                self.counts.failed.inc();
                tracing::warn!(url = %without_query(&self.url), error = %error, "key set fetch failed; the last fetched keys stay in use");
            }
        }
    }

    /// Fetches the set as a check. Returns the number of usable keys.
    pub(super) async fn probe(&self) -> anyhow::Result<usize> {
        self.download().await.map(|keys| keys.keys.len())
    }

    async fn download(&self) -> anyhow::Result<Keys> {
        let answered = self.http.get(&self.url).send().await;
        let answered = answered.and_then(reqwest::Response::error_for_status);
        // The error's text would contain the URL with its query.
        let mut response = answered.map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            body.extend_from_slice(&chunk);
            anyhow::ensure!(
                body.len() <= SET_MAX_BYTES,
                "the key set has over {SET_MAX_BYTES} bytes"
            );
        }
        let keys = Keys::read(serde_json::from_slice(&body)?);
        anyhow::ensure!(!keys.keys.is_empty(), "the key set has no usable key");
        Ok(keys)
    }
}

impl Keys {
    fn read(set: KeySet) -> Self {
        let mut read = Self::default();
        for (index, entry) in set.keys.into_iter().enumerate() {
            match Key::read(entry) {
                Ok(key) => read.keys.extend(key),
                Err(Unusable) => read.skipped.push(index),
            }
        }
        read
    }

    /// Keys with this id, or all keys for a token without a `kid`.
    fn of(&self, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| kid.is_none() || key.kid.as_deref() == kid)
    }
}

/// Entry of a key set that is malformed or of an unknown kind.
struct Unusable;

impl Key {
    /// The key, or `None` if it is for encryption.
    fn read(entry: Value) -> Result<Option<Self>, Unusable> {
        // Key sets also hold encryption keys, with algorithms of their own.
        if entry.get("use").is_some_and(|purpose| purpose == "enc") {
            return Ok(None);
        }
        let jwk: Jwk = serde_json::from_value(entry).map_err(|_| Unusable)?;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            _ => return Err(Unusable),
        };
        let named = jwk.common.key_algorithm;
        if named.is_some_and(|named| named.to_string() != format!("{algorithm:?}")) {
            return Err(Unusable);
        }
        let decoding = Arc::new(DecodingKey::from_jwk(&jwk).map_err(|_| Unusable)?);
        Ok(Some(Self { kid: jwk.common.key_id, algorithm, decoding }))
    }
}
