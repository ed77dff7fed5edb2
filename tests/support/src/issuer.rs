//! An issuer of tokens that serves its key set over HTTP, and misbehaves on command.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use axum::{Json, Router, http::StatusCode, routing::get};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

/// Secret of the tokens that Django signs in the tests.
pub const DJANGO_SECRET: &str = "a-secret-that-only-the-tests-know";

/// Tokens and key set of a Cognito user pool.
#[derive(Debug)]
pub struct Issuer {
    /// `iss` of the tokens; the key set is below this URL.
    pub url: String,
    keys: Arc<Keys>,
}

struct Keys {
    current: Mutex<(EncodingKey, Jwk, Algorithm)>,
    fetches: AtomicUsize,
    away: AtomicBool,
    empty: AtomicBool,
    /// Whether a response takes longer than any client waits.
    late: AtomicBool,
    /// Entries of the key set before the current key.
    others: Mutex<Vec<Value>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Keys")
    }
}

impl Issuer {
    /// Starts an issuer with one key, whose id is `key-1`.
    pub async fn start() -> Self {
        let keys = Arc::new(Keys {
            current: Mutex::new(new_key("key-1")),
            fetches: AtomicUsize::new(0),
            away: AtomicBool::new(false),
            empty: AtomicBool::new(false),
            late: AtomicBool::new(false),
            others: Mutex::default(),
        });
        let serving = Arc::clone(&keys);
        let answer = async move || {
            serving.fetches.fetch_add(1, Ordering::SeqCst);
            if serving.away.load(Ordering::SeqCst) {
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            if serving.late.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            let mut keys = serving.others.lock().unwrap().clone();
            if serving.empty.load(Ordering::SeqCst) {
                keys.clear();
            } else {
                keys.push(serde_json::to_value(&serving.current.lock().unwrap().1).unwrap());
            }
            Ok(Json(json!({ "keys": keys })))
        };
        let router = Router::new().route("/pool/.well-known/jwks.json", get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("http://{address}/pool"), keys }
    }

    /// URL of the key set.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.url)
    }

    /// Number of requests for the key set.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.keys.fetches.load(Ordering::SeqCst)
    }

    /// Sets whether requests fail with 503.
    pub fn go_away(&self, away: bool) {
        self.keys.away.store(away, Ordering::SeqCst);
    }

    /// Sets whether the key set is empty.
    pub fn show_no_keys(&self, empty: bool) {
        self.keys.empty.store(empty, Ordering::SeqCst);
    }

    /// Sets whether a response takes longer than any client waits.
    pub fn be_late(&self, late: bool) {
        self.keys.late.store(late, Ordering::SeqCst);
    }

    /// Adds these entries before the current key.
    pub fn show_too(&self, entries: Vec<Value>) {
        self.keys.others.lock().unwrap().extend(entries);
    }

    /// Signs with a new key of this id from now on; the key set keeps the old one.
    pub fn rotate_beside(&self, kid: &str) {
        self.show_too(vec![self.public_key()]);
        self.rotate(kid);
    }

    /// Like [`Issuer::rotate_beside`], with an ES256 key.
    pub fn rotate_beside_to_ec(&self, kid: &str) {
        self.show_too(vec![self.public_key()]);
        self.rotate_to_ec(kid);
    }

    /// Signs with a new key of this id from now on; the old one leaves the key set.
    pub fn rotate(&self, kid: &str) {
        *self.keys.current.lock().unwrap() = new_key(kid);
    }

    /// Signs with a new ES256 key of this id from now on.
    pub fn rotate_to_ec(&self, kid: &str) {
        let der = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = der.to_pkcs8v1().unwrap();
        *self.keys.current.lock().unwrap() = key(kid, der.as_ref(), Algorithm::ES256);
    }

    /// Modulus and exponent of the public key, as in the key set.
    #[must_use]
    pub fn public_key(&self) -> Value {
        serde_json::to_value(&self.keys.current.lock().unwrap().1).unwrap()
    }

    /// Claims of a customer's access token that is valid for an hour.
    #[must_use]
    pub fn customer_claims(&self, sub: &str) -> Value {
        json!({
            "iss": self.url, "sub": sub, "token_use": "access", "client_id": "app",
            "exp": now() + 3_600, "iat": now(),
        })
    }

    /// Claims of a dentist's access token that is valid for an hour.
    #[must_use]
    pub fn dentist_claims(user_id: &str) -> Value {
        json!({ "user_id": user_id, "token_type": "access", "exp": now() + 3_600, "iat": now() })
    }

    /// A customer's token.
    #[must_use]
    pub fn customer(&self, sub: &str) -> String {
        self.sign(&self.customer_claims(sub))
    }

    /// A dentist's token.
    #[must_use]
    pub fn dentist(user_id: &str) -> String {
        Self::sign_with_secret(&Self::dentist_claims(user_id), DJANGO_SECRET.as_bytes())
    }

    /// Signs claims with the current key.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let kid = self.public_key()["kid"].as_str().unwrap().to_owned();
        self.sign_as(claims, Some(kid))
    }

    /// Signs claims with the current key under any key id.
    #[must_use]
    pub fn sign_as(&self, claims: &Value, kid: Option<String>) -> String {
        let key = self.keys.current.lock().unwrap();
        let header = Header { kid, ..Header::new(key.2) };
        jsonwebtoken::encode(&header, claims, &key.0).unwrap()
    }

    /// Signs a header and claims verbatim, with the current key and this algorithm.
    #[must_use]
    pub fn sign_text(&self, header: &str, claims: &str, algorithm: Algorithm) -> String {
        sign_text(header, claims, &self.keys.current.lock().unwrap().0, algorithm)
    }

    /// Like [`Issuer::sign_text`], with HS256 and a secret.
    #[must_use]
    pub fn sign_text_with_secret(header: &str, claims: &str, secret: &[u8]) -> String {
        sign_text(header, claims, &EncodingKey::from_secret(secret), Algorithm::HS256)
    }

    /// Signs claims with HS256.
    #[must_use]
    pub fn sign_with_secret(claims: &Value, secret: &[u8]) -> String {
        let key = EncodingKey::from_secret(secret);
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
    }
}

fn sign_text(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// Current time in seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn new_key(kid: &str) -> (EncodingKey, Jwk, Algorithm) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    key(kid, der.as_ref(), Algorithm::RS256)
}

/// Signing key and JWK of a private key in PKCS #8.
fn key(kid: &str, der: &[u8], algorithm: Algorithm) -> (EncodingKey, Jwk, Algorithm) {
    let text = BASE64_STANDARD.encode(der);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
        _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
    };
    let key = key.unwrap();
    let mut jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    (key, jwk, algorithm)
}
