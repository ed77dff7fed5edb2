//! Valid and invalid tokens against the real verifier and a key set that is served over HTTP.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use frontdesk_test_support::{DJANGO_SECRET, Issuer, eventually, now};
use serde_json::{Value, json};

use super::{config::TokensConfig, *};
use model::person::Side;
use platform::tasks::Tasks;
use platform::variables::Variables;

mod key_sets;

struct World {
    issuer: Issuer,
    verifier: Verifier,
}

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(more: &[(&str, &str)]) -> Self {
        let issuer = Issuer::start().await;
        let mut variables =
            vec![("COGNITO_ISSUER", issuer.url.as_str()), ("DJANGO_JWT_SECRET", DJANGO_SECRET)];
        variables.extend(more);
        let verifier = Verifier::new(
            &TokensConfig::read(&Variables::of(&variables)).unwrap(),
            <[_; 2]>::default(),
            &Tasks::default(),
        )
        .unwrap();
        Self { issuer, verifier }
    }

    /// World whose dentists' tokens are checked by a key set instead of the secret.
    async fn with_django_keys() -> Self {
        let issuer = Issuer::start().await;
        let url = issuer.jwks_url();
        let verifier = Verifier::new(
            &TokensConfig::read(&Variables::of(&[("DJANGO_JWKS_URL", &url)])).unwrap(),
            <[_; 2]>::default(),
            &Tasks::default(),
        )
        .unwrap();
        Self { issuer, verifier }
    }

    async fn refuses(&self, token: &str) -> bool {
        match self.verifier.verify(token).await {
            Err(AuthError::Invalid(_) | AuthError::Expired) => true,
            other => panic!("{other:?}"),
        }
    }

    /// Customer's token with one changed claim.
    fn customer_with(&self, claim: &str, value: Value) -> String {
        self.issuer.sign(&with(self.issuer.customer_claims("ada"), claim, value))
    }
}

/// Dentist's token with one changed claim.
fn dentist_with(claim: &str, value: Value) -> String {
    let claims = with(Issuer::dentist_claims("7"), claim, value);
    Issuer::sign_with_secret(&claims, DJANGO_SECRET.as_bytes())
}

fn with(mut claims: Value, claim: &str, value: Value) -> Value {
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
        value => claims[claim] = value,
    }
    claims
}

fn text(part: &Value) -> String {
    part.to_string()
}

#[tokio::test]
async fn each_kind_of_person_is_known_by_their_own_kind_of_token() {
    let world = World::new().await;
    let ada = world.verifier.verify(&world.issuer.customer("ada")).await.unwrap();
    assert_eq!((ada.scope.side, ada.scope.id.as_str()), (Side::Contact, "ada"));
    assert!(!ada.scope.grants().admin);
    let dana = world.verifier.verify(&Issuer::dentist("7")).await.unwrap();
    assert_eq!((dana.scope.side, dana.scope.id.as_str()), (Side::Desk, "7"));
    let numbered = world.verifier.verify(&dentist_with("user_id", json!(7))).await.unwrap();
    assert_eq!(numbered.scope, dana.scope, "Django's id is a number or a string");
    let by_keys = World::with_django_keys().await;
    let token = by_keys.issuer.sign(&Issuer::dentist_claims("7"));
    assert_eq!(by_keys.verifier.verify(&token).await.unwrap().scope, dana.scope);
    let by_curve = World::with_django_keys().await;
    by_curve.issuer.rotate_to_ec("key-2");
    let token = by_curve.issuer.sign(&Issuer::dentist_claims("7"));
    assert_eq!(by_curve.verifier.verify(&token).await.unwrap().scope, dana.scope);
    let id = with(world.issuer.customer_claims("ada"), "token_use", json!("id"));
    assert!(world.verifier.verify(&world.issuer.sign(&id)).await.is_ok());
}

#[tokio::test]
async fn an_admin_is_named_by_either_issuer() {
    let world = World::new().await;
    for token in [
        world.customer_with("cognito:groups", json!(["staff", "admin"])),
        dentist_with("role", json!("admin")),
        dentist_with("is_staff", json!(true)),
    ] {
        assert!(world.verifier.verify(&token).await.unwrap().scope.grants().admin);
    }
    for token in [
        world.customer_with("cognito:groups", json!(["administrators"])),
        world.customer_with("role", json!("admin")),
        dentist_with("role", json!("Admin")),
        dentist_with("is_staff", json!(false)),
    ] {
        assert!(!world.verifier.verify(&token).await.unwrap().scope.grants().admin);
    }
}

#[tokio::test]
async fn b1_a_token_without_a_signature_is_refused() {
    let world = World::new().await;
    let claims = BASE64_URL_SAFE_NO_PAD.encode(text(&world.issuer.customer_claims("ada")));
    for alg in ["none", "None", "NONE", ""] {
        let header = BASE64_URL_SAFE_NO_PAD.encode(text(&json!({ "alg": alg, "kid": "key-1" })));
        assert!(world.refuses(&format!("{header}.{claims}.")).await);
    }
    let good = world.issuer.customer("ada");
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    assert!(world.refuses(&format!("{unsigned}.")).await);
    assert!(world.refuses(unsigned).await);
    // Change one character of the signature, then the claims.
    let other = if signature.starts_with('A') { "B" } else { "A" };
    assert!(world.refuses(&format!("{unsigned}.{other}{}", &signature[1..])).await);
    let (header, _) = unsigned.split_once('.').unwrap();
    let forged = BASE64_URL_SAFE_NO_PAD.encode(text(&world.issuer.customer_claims("eve")));
    assert!(world.refuses(&format!("{header}.{forged}.{signature}")).await);
}

#[tokio::test]
async fn b2_a_public_key_is_no_secret() {
    for world in [World::new().await, World::with_django_keys().await] {
        let key = world.issuer.public_key();
        let modulus = BASE64_URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
        for secret in [text(&key).into_bytes(), key["n"].as_str().unwrap().into(), modulus] {
            for claims in [world.issuer.customer_claims("ada"), Issuer::dentist_claims("7")] {
                let header = text(&json!({ "alg": "HS256", "kid": "key-1" }));
                let token = Issuer::sign_text_with_secret(&header, &text(&claims), &secret);
                assert!(world.refuses(&token).await);
            }
        }
    }
}

#[tokio::test]
async fn b3_an_algorithm_that_is_not_the_issuers_is_refused() {
    let world = World::new().await;
    let claims = text(&world.issuer.customer_claims("ada"));
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let header = text(&json!({ "alg": algorithm, "kid": "key-1" }));
        assert!(world.refuses(&world.issuer.sign_text(&header, &claims, algorithm)).await);
        // The header may also name the wrong algorithm.
        let header = text(&json!({ "alg": "RS256", "kid": "key-1" }));
        assert!(world.refuses(&world.issuer.sign_text(&header, &claims, algorithm)).await);
    }
    // Django's secret does not sign for Cognito, and Cognito's key does not sign for Django.
    let cognito =
        Issuer::sign_with_secret(&world.issuer.customer_claims("ada"), DJANGO_SECRET.as_bytes());
    assert!(world.refuses(&cognito).await);
    assert!(world.refuses(&world.issuer.sign(&Issuer::dentist_claims("7"))).await);
}

#[tokio::test]
async fn b4_an_odd_kid_is_an_unknown_kid() {
    let world = World::new().await;
    let claims = world.issuer.customer_claims("ada");
    assert!(world.verifier.verify(&world.issuer.customer("ada")).await.is_ok());
    for kid in ["../../key-1", "' or 1=1 --", "key-1\0", ""] {
        let odd = world.issuer.sign_as(&claims, Some(kid.into()));
        assert_eq!(world.verifier.verify(&odd).await, Err(AuthError::IssuerUnavailable));
    }
    assert!(world.refuses(&world.issuer.sign_as(&claims, Some("k".repeat(10_000)))).await);
    // The `kid` is optional.
    assert!(world.verifier.verify(&world.issuer.sign_as(&claims, None)).await.is_ok());
}

#[tokio::test]
async fn b5_f19_a_flood_of_unknown_kids_costs_one_fetch() {
    let world = World::new().await;
    let claims = world.issuer.customer_claims("ada");
    let tokens: Vec<_> =
        (0..50).map(|n| world.issuer.sign_as(&claims, Some(format!("unknown-{n}")))).collect();
    let asking = tokens.iter().map(|token| world.verifier.verify(token));
    for refused in futures_util::future::join_all(asking).await {
        assert!(
            matches!(refused, Err(AuthError::Invalid(_))),
            "the set that was just fetched decides"
        );
    }
    // The issuer may have published these keys since. The next fetch is due after 10 s.
    for token in &tokens {
        assert_eq!(world.verifier.verify(token).await, Err(AuthError::IssuerUnavailable));
    }
    assert_eq!(world.issuer.fetches(), 1);
    assert!(world.verifier.verify(&world.issuer.customer("ada")).await.is_ok());
}

#[tokio::test]
async fn f19_keys_serve_on_while_their_issuer_is_away_and_new_ones_are_found() {
    let world = World::new().await;
    world.issuer.go_away(true);
    let early = world.verifier.verify(&world.issuer.customer("ada")).await;
    assert_eq!(early, Err(AuthError::IssuerUnavailable), "not the token's fault");
    world.issuer.go_away(false);
    let back = std::time::Instant::now();
    let token = world.issuer.customer("ada");
    eventually("it is found soon", async || world.verifier.verify(&token).await.is_ok()).await;
    assert!(back.elapsed().as_secs() < 5, "without any keys it asks again sooner");
    let world = World::new().await;
    let old = world.issuer.customer("ada");
    let fetched = std::time::Instant::now();
    assert!(world.verifier.verify(&old).await.is_ok());
    world.issuer.go_away(true);
    assert!(world.verifier.verify(&old).await.is_ok());
    world.issuer.rotate("key-2");
    world.issuer.go_away(false);
    let early = world.verifier.verify(&world.issuer.customer("ada")).await;
    assert_eq!(early, Err(AuthError::IssuerUnavailable), "10 s have not passed");
    assert!(world.verifier.verify(&old).await.is_ok());
    assert_eq!(world.issuer.fetches(), 1);
    let new = world.issuer.customer("ada");
    eventually("the new key is found", async || world.verifier.verify(&new).await.is_ok()).await;
    assert_eq!(world.issuer.fetches(), 2, "however many asked");
    assert!(fetched.elapsed().as_secs() >= 9);
    assert!(world.verifier.verify(&old).await.is_err(), "the old key is gone");
}

#[tokio::test]
async fn f19_a_set_without_keys_takes_none_away() {
    let world = World::new().await;
    let good = world.issuer.customer("ada");
    assert!(world.verifier.verify(&good).await.is_ok());
    world.issuer.show_no_keys(true);
    let unknown = world.issuer.sign_as(&world.issuer.customer_claims("ada"), Some("other".into()));
    eventually("it is fetched again", async || {
        let refused = world.verifier.verify(&unknown).await;
        assert_eq!(
            refused,
            Err(AuthError::IssuerUnavailable),
            "no set has said that it is unknown"
        );
        world.issuer.fetches() == 2
    })
    .await;
    assert!(world.verifier.verify(&good).await.is_ok());
}

#[tokio::test]
async fn b6_what_a_token_says_of_its_own_key_is_not_read() {
    let world = World::new().await;
    let eve = Issuer::start().await;
    let claims = text(&world.issuer.customer_claims("ada"));
    let header = text(&json!({
        "alg": "RS256", "kid": "key-1", "jku": eve.jwks_url(), "x5u": eve.jwks_url(),
        "jwk": eve.public_key(),
    }));
    assert!(world.refuses(&eve.sign_text(&header, &claims, Algorithm::RS256)).await);
    assert_eq!(eve.fetches(), 0);
    assert!(
        world
            .verifier
            .verify(&world.issuer.sign_text(&header, &claims, Algorithm::RS256))
            .await
            .is_ok()
    );
    let critical = text(&json!({ "alg": "RS256", "kid": "key-1", "crit": ["b64"] }));
    assert!(world.refuses(&world.issuer.sign_text(&critical, &claims, Algorithm::RS256)).await);
}

#[tokio::test]
async fn b7_b8_b9_b10_a_token_for_another_purpose_is_refused() {
    let world = World::with(&[("COGNITO_CLIENT_IDS", "app,web")]).await;
    assert!(world.verifier.verify(&world.issuer.customer("ada")).await.is_ok());
    let id = |aud: &str| {
        let claims = with(world.issuer.customer_claims("ada"), "token_use", json!("id"));
        let claims = with(claims, "client_id", Value::Null);
        world.issuer.sign(&with(claims, "aud", json!(aud)))
    };
    assert!(world.verifier.verify(&id("web")).await.is_ok());
    for token in [
        world.customer_with("iss", json!("https://elsewhere.example")),
        world.customer_with("iss", json!(format!("{}/", world.issuer.url))),
        world.customer_with("iss", Value::Null),
        world.customer_with("token_use", json!("refresh")),
        world.customer_with("token_use", Value::Null),
        world.customer_with("client_id", json!("another")),
        world.customer_with("client_id", Value::Null),
        id("another"),
        dentist_with("iss", json!(world.issuer.url)),
        dentist_with("token_type", json!("refresh")),
        dentist_with("token_type", Value::Null),
    ] {
        assert!(world.refuses(&token).await);
    }
}

#[tokio::test]
async fn b11_an_odd_user_id_is_refused() {
    let world = World::new().await;
    for odd in [
        Value::Null,
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(true),
        json!([7]),
        json!({ "id": 7 }),
        json!(""),
        json!("7\r\n8"),
        json!("x".repeat(129)),
    ] {
        assert!(world.refuses(&dentist_with("user_id", odd.clone())).await, "{odd}");
        assert!(world.refuses(&world.customer_with("sub", odd)).await);
    }
}

#[tokio::test]
async fn b12_f25_times_count_with_60_s_of_leeway_and_no_more() {
    let world = World::new().await;
    let expired = world.verifier.verify(&world.customer_with("exp", json!(now() - 75))).await;
    assert_eq!(expired, Err(AuthError::Expired));
    for (claim, value) in [
        ("exp", json!(now() - 75)),
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("exp", json!(-1)),
        ("exp", json!(1e308)),
        ("exp", json!(0)),
        ("nbf", json!(now() + 75)),
    ] {
        assert!(world.refuses(&world.customer_with(claim, value.clone())).await, "{claim} {value}");
        assert!(world.refuses(&dentist_with(claim, value)).await);
    }
    for (claim, value) in [("exp", json!(now() - 40)), ("nbf", json!(now() + 40))] {
        assert!(world.verifier.verify(&world.customer_with(claim, value.clone())).await.is_ok());
        assert!(world.verifier.verify(&dentist_with(claim, value)).await.is_ok());
    }
}

#[tokio::test]
async fn b13_a_claim_that_stands_twice_is_refused() {
    let world = World::new().await;
    let header = text(&json!({ "alg": "RS256", "kid": "key-1" }));
    let claims = text(&world.issuer.customer_claims("ada"));
    for twice in ["sub", "exp", "iss", "token_use"] {
        let value = &world.issuer.customer_claims("eve")[twice];
        let claims = format!("{},\"{twice}\":{value}}}", claims.trim_end_matches('}'));
        assert!(world.refuses(&world.issuer.sign_text(&header, &claims, Algorithm::RS256)).await);
    }
    let header = r#"{"alg":"RS256","kid":"key-1","alg":"HS256"}"#;
    assert!(world.refuses(&world.issuer.sign_text(header, &claims, Algorithm::RS256)).await);
}

#[tokio::test]
async fn b14_what_is_too_long_too_short_or_no_token_is_refused() {
    let world = World::new().await;
    assert!(world.refuses(&world.customer_with("padding", json!("x".repeat(16_384)))).await);
    assert_eq!(world.issuer.fetches(), 0, "it is not even looked at");
    let good = world.issuer.customer("ada");
    for end in (0..good.len()).step_by(13) {
        assert!(world.refuses(&good[..end]).await);
    }
    for bad in ["a.b.c", "...", ".", "a.b.c.d", "{}.{}.{}", "\u{0}.\u{0}.\u{0}", "é.é.é"] {
        assert!(world.refuses(bad).await);
    }
    assert!(world.refuses(&format!("{good}.{good}")).await);
}

#[tokio::test]
async fn i14_an_error_holds_no_piece_of_the_token() {
    let world = World::new().await;
    let token = world.customer_with("token_use", json!("very-secret-claim"));
    let error = world.verifier.verify(&token).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}
