//! An issuer's key set (RFC 7517), cached.
//!
//! Keys are kept while the issuer is away. An unknown `kid` costs one fetch at most every 10 s, for
//! all requests together: those that come during a fetch wait for that one.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse},
};
use tokio::time::Instant;

use super::AuthError;
use crate::{config::without_query, metrics::auth::KeySetCounts};

/// How often an unknown `kid` may cost a fetch.
const FETCH_EVERY: Duration = Duration::from_secs(10);
/// How often a fetch may be tried while there are no keys at all, and so nobody comes in.
const FIRST_FETCH_EVERY: Duration = Duration::from_secs(1);
/// How old the keys get before they are fetched anew, in the background.
const FRESH: Duration = Duration::from_secs(3_600);
/// How long a fetch may take, and how large a key set may be.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const SET_MAX_BYTES: usize = 262_144;

type Fetch = Shared<BoxFuture<'static, ()>>;
type Keys = HashMap<Option<String>, Key>;

#[derive(Clone)]
struct Key {
    algorithm: Algorithm,
    key: Arc<DecodingKey>,
}

pub(super) struct Jwks {
    url: String,
    http: reqwest::Client,
    counts: KeySetCounts,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Keys,
    /// When the keys were fetched last, with success.
    fetched: Option<Instant>,
    /// When a fetch was begun last.
    tried: Option<Instant>,
    fetching: Option<Fetch>,
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Jwks({})", without_query(&self.url))
    }
}

/// The client that fetches a key set. It follows no redirect: the URL is the one that was
/// configured. An issuer on this machine is not asked through a proxy.
fn client(url: &str) -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .timeout(FETCH_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    let host = reqwest::Url::parse(url)?.host_str().unwrap_or_default().to_owned();
    let local = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    Ok(if local { builder.no_proxy() } else { builder }.build()?)
}

impl Jwks {
    /// Fetches nothing yet.
    pub(super) fn new(url: String, counts: KeySetCounts) -> anyhow::Result<Arc<Self>> {
        let http = client(&url)?;
        Ok(Arc::new(Self { url, http, counts, state: Mutex::default() }))
    }

    /// Takes these keys as fetched, and fetches none for years.
    #[cfg(all(any(test, fuzzing), feature = "embedded"))]
    pub(super) fn keep(&self, set: &JwkSet) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let later = Some(Instant::now() + Duration::from_secs(1_000_000_000));
        *state = State { keys: usable(set), fetched: later, tried: later, fetching: None };
    }

    /// The key of this id, for this algorithm and no other.
    pub(super) async fn key(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<DecodingKey>, AuthError> {
        if let Some(fetch) = self.fetch_for(kid) {
            fetch.await;
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match find(&state.keys, kid) {
            Some(found) if found.algorithm == algorithm => Ok(Arc::clone(&found.key)),
            Some(_) => Err(AuthError::Invalid("its algorithm is not its key's")),
            None if state.fetched.is_none() => Err(AuthError::IssuerUnavailable),
            None => Err(AuthError::Invalid("its key is not its issuer's")),
        }
    }

    /// A fetch to wait for, where the key is not known yet. Keys that are merely old are fetched
    /// anew without waiting.
    fn fetch_for(self: &Arc<Self>, kid: Option<&str>) -> Option<Fetch> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = find(&state.keys, kid).is_some();
        if known && state.fetched.is_some_and(|at| now < at + FRESH) {
            return None;
        }
        let every = if state.fetched.is_some() { FETCH_EVERY } else { FIRST_FETCH_EVERY };
        if state.fetching.is_none() && state.tried.is_none_or(|at| now >= at + every) {
            state.tried = Some(now);
            let fetch = Arc::clone(self).fetch().boxed().shared();
            tokio::spawn(fetch.clone());
            state.fetching = Some(fetch);
        }
        state.fetching.clone().filter(|_| !known)
    }

    async fn fetch(self: Arc<Self>) {
        let outcome = self.download().await;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.fetching = None;
        match outcome {
            Ok(keys) => {
                self.counts.fetched.inc();
                self.counts.fetched_at.set(Timestamp::now().as_second());
                state.keys = keys;
                state.fetched = Some(Instant::now());
                tracing::info!(url = %without_query(&self.url), keys = state.keys.len(), "fetched a key set");
            }
            Err(error) => {
                self.counts.failed.inc();
                tracing::warn!(url = %without_query(&self.url), error = %error, "a key set can't be fetched; the keys at hand serve on");
            }
        }
    }

    /// Fetches the set, to see whether that can be done: how many keys can be used.
    pub(super) async fn look(&self) -> anyhow::Result<usize> {
        self.download().await.map(|keys| keys.len())
    }

    async fn download(&self) -> anyhow::Result<Keys> {
        let answered = self.http.get(&self.url).send().await;
        let answered = answered.and_then(reqwest::Response::error_for_status);
        // It would be told with its query.
        let mut response = answered.map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            body.extend_from_slice(&chunk);
            anyhow::ensure!(body.len() <= SET_MAX_BYTES, "it has over {SET_MAX_BYTES} bytes");
        }
        let keys = usable(&serde_json::from_slice(&body)?);
        anyhow::ensure!(!keys.is_empty(), "it has no key that can be used");
        Ok(keys)
    }
}

/// A token without a `kid` is taken where the set has one key only.
fn find<'a>(keys: &'a Keys, kid: Option<&str>) -> Option<&'a Key> {
    match kid {
        Some(kid) => keys.get(&Some(kid.to_owned())),
        None => keys.values().next().filter(|_| keys.len() == 1),
    }
}

/// The keys that can check a signature of an algorithm that is taken here.
fn usable(set: &JwkSet) -> Keys {
    let usable = |jwk: &Jwk| {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(_) => Algorithm::ES256,
            _ => return None,
        };
        let named = jwk.common.key_algorithm;
        if named.is_some_and(|named| named.to_string() != format!("{algorithm:?}"))
            || matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption))
        {
            return None;
        }
        let key = Arc::new(DecodingKey::from_jwk(jwk).ok()?);
        Some((jwk.common.key_id.clone(), Key { algorithm, key }))
    };
    set.keys.iter().filter_map(usable).collect()
}
