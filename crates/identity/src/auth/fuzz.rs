//! Fuzz target for tokens, their places in a request, and key sets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a finding is a panic"
)]

use std::{str::from_utf8, sync::LazyLock};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use jsonwebtoken::{
    EncodingKey, crypto,
    jwk::{Jwk, JwkSet},
};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{
    Algorithm, AuthError, Identity, LEEWAY, TOKEN_MAX, Verifier, from_handshake, from_headers,
    jwks::KeySet,
};
use crate::auth::config::{CognitoConfig, DjangoConfig, TokensConfig};
use model::person::Side;
use platform::tasks::Tasks;

const ISSUER: &str = "https://pool.example";
const SECRET: &str = "a-secret-of-the-fuzzers-that-is-long-enough";

/// Verifier with its keys in memory, and the keys that sign for it.
struct World {
    verifier: Verifier,
    customers: EncodingKey,
    dentists: EncodingKey,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key that can be written");
    let text = base64::prelude::BASE64_STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    let customers = EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key that can be read");
    let public = Jwk::from_encoding_key(&customers, Algorithm::RS256).expect("its public half");
    let cognito = CognitoConfig { issuer: ISSUER.to_owned(), client_ids: vec!["app".to_owned()] };
    let django = DjangoConfig { secret: Some(SECRET.into()), jwks_url: None, issuer: None };
    let public = serde_json::to_string(&JwkSet { keys: vec![public] }).expect("a key set");
    World {
        verifier: verifier_of(
            cognito,
            Some(django),
            serde_json::from_str(&public).expect("the same"),
        ),
        customers,
        dentists: EncodingKey::from_secret(SECRET.as_bytes()),
    }
});

/// A verifier with these keys of the customers' issuer.
fn verifier_of(cognito: CognitoConfig, django: Option<DjangoConfig>, keys: KeySet) -> Verifier {
    let config = TokensConfig { cognito: Some(cognito), django, max_age: None };
    let verifier = Verifier::new(&config, <[_; 2]>::default(), &Tasks::default());
    let verifier = verifier.expect("a verifier");
    verifier.cognito.as_ref().expect("its pool").keep(keys);
    verifier
}

/// The first byte names the kind of input: a key set, claims of either issuer, a header and claims, a
/// handshake's three places with one line each, or else a whole token.
pub fn tokens(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind {
        b'k' => key_set(rest),
        b'c' => claims(rest, r#"{"alg":"RS256"}"#, Algorithm::RS256, &WORLD.customers),
        b'd' => claims(rest, r#"{"alg":"HS256"}"#, Algorithm::HS256, &WORLD.dentists),
        b'h' => handshake(rest),
        // Header and claims in JSON, without a signature.
        b'j' => {
            let parts =
                rest.split(|byte| *byte == b'\n').map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
            drop(verified(&parts.collect::<Vec<_>>().join(".")));
        }
        _ => drop(from_utf8(rest).map(verified)),
    }
}

/// Verifies a token. The keys are in memory, so the future is ready at once.
fn verified(token: &str) -> Result<Identity, AuthError> {
    let identity = WORLD.verifier.verify(token).now_or_never().expect("it waits for nothing");
    assert!(identity.is_err() || token.len() <= TOKEN_MAX);
    identity
}

/// Correctly signed claims are accepted only if they meet the issuer's rules.
fn claims(claims: &[u8], header: &str, algorithm: Algorithm, key: &EncodingKey) {
    let message =
        [header.as_bytes(), claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
    let Ok(signature) = crypto::sign(message.as_bytes(), key, algorithm) else { return };
    let Ok(identity) = verified(&format!("{message}.{signature}")) else { return };
    // Claims that the verifier does not read may be invalid text.
    let Ok(claims) = serde_json::from_slice::<Value>(claims) else { return };
    let ends = claims["exp"].as_f64().map(f64::round).expect("a time");
    #[expect(clippy::cast_precision_loss, reason = "it is small enough")]
    let (last, told) = (jiff::Timestamp::MAX.as_second() as f64, identity.expires_at as f64);
    assert!((ends.min(last) - told).abs() < 1.0, "{ends} is told as {told}");
    assert!(identity.expires_at + LEEWAY >= jiff::Timestamp::now().as_second() - 1);
    let (id, purpose) = match identity.scope.side {
        Side::Contact => {
            assert_eq!((algorithm, &claims["iss"]), (Algorithm::RS256, &Value::from(ISSUER)));
            assert!(claims["client_id"] == "app" || claims["aud"] == "app");
            (&claims["sub"], &claims["token_use"])
        }
        Side::Desk => (&claims["user_id"], &claims["token_type"]),
    };
    assert!(purpose == "access" || purpose == "id");
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    assert_eq!(id, identity.scope.id.as_str());
}

fn handshake(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [header::AUTHORIZATION, header::SEC_WEBSOCKET_PROTOCOL] {
        if let Some(Ok(value)) = lines.next().map(HeaderValue::from_bytes)
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    }
    let query = from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    if let Ok(token) = from_headers(&headers) {
        let whole = headers[header::AUTHORIZATION].to_str().expect("it was read");
        assert!(whole.contains(token.expose_secret()));
        assert_eq!(token.expose_secret().trim(), token.expose_secret());
    }
    if let Ok(token) = from_handshake(&headers, query) {
        drop(verified(token.expose_secret()));
    }
}

/// Key set of an issuer, and a token that its keys did not sign.
fn key_set(bytes: &[u8]) {
    let Ok(set) = serde_json::from_slice(bytes) else { return };
    let entries = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let kid = entries["keys"][0]["kid"].as_str().map(str::to_owned);
    let config = CognitoConfig { issuer: ISSUER.to_owned(), client_ids: Vec::new() };
    let verifier = verifier_of(config, None, set);
    let header = serde_json::json!({ "alg": "RS256", "kid": kid }).to_string();
    let claims = format!(r#"{{"iss":"{ISSUER}"}}"#);
    let parts = [header.as_bytes(), claims.as_bytes(), &[7; 256]];
    let token = parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
    let identity = verifier.verify(&token).now_or_never().expect("it waits for nothing");
    assert!(identity.is_err());
}
