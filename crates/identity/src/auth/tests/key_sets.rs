//! Unusual key sets, and old or long-lived tokens.

use super::*;

/// Unusable entries, each for another reason. The last is an encryption key.
fn broken() -> Vec<Value> {
    vec![
        json!(7),
        json!({}),
        json!({ "kty": "AKP", "kid": "key-1", "alg": "ML-DSA-44", "pub": "AQAB" }),
        json!({ "kty": "RSA", "kid": "key-1", "alg": "RS256", "n": "not base64!", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": "key-1", "n": "AQAB", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": "key-1", "alg": "RS1024", "n": "AQAB", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": "key-1", "use": "enc", "alg": "RSA-OAEP-512", "n": "AQAB" }),
    ]
}

#[tokio::test]
async fn c15_a_broken_entry_of_a_key_set_leaves_the_others_usable() {
    let world = World::new().await;
    world.issuer.show_too(broken());
    let ada = world.verifier.verify(&world.issuer.customer("ada")).await.unwrap();
    assert_eq!(ada.scope.id.as_str(), "ada");
    // The broken entries add no key either.
    let eve = Issuer::start().await;
    assert!(world.refuses(&eve.sign(&world.issuer.customer_claims("ada"))).await);
}

#[tokio::test]
async fn c15_keys_of_one_kid_do_not_hide_each_other_and_are_bounded() {
    let world = World::new().await;
    let claims = world.issuer.customer_claims("ada");
    let mut tokens = vec![world.issuer.sign(&claims)];
    for _ in 0..3 {
        world.issuer.rotate_beside("key-1");
        tokens.push(world.issuer.sign(&claims));
    }
    for token in &tokens {
        assert!(world.verifier.verify(token).await.is_ok());
    }
    assert!(world.refuses(&world.customer_with("exp", json!(now() - 75))).await);
    // Many keys with the same `kid` cost at most four checks.
    let world = World::new().await;
    let (claims, mut tokens) = (world.issuer.customer_claims("ada"), Vec::new());
    for _ in 0..6 {
        world.issuer.rotate_beside("key-1");
        tokens.push(world.issuer.sign(&claims));
    }
    let checking = tokens.iter().map(|token| world.verifier.verify(token));
    let checked = futures_util::future::join_all(checking).await;
    assert!(checked.iter().filter(|outcome| outcome.is_ok()).count() <= 4);
}

#[tokio::test]
async fn c15_a_key_of_another_algorithm_under_the_same_kid_is_passed_over() {
    let world = World::with_django_keys().await;
    let claims = Issuer::dentist_claims("7");
    let by_rsa = world.issuer.sign(&claims);
    world.issuer.rotate_beside_to_ec("key-1");
    let by_curve = world.issuer.sign(&claims);
    for token in [by_rsa, by_curve] {
        assert!(world.verifier.verify(&token).await.is_ok());
    }
}

/// Dentist's token without a `kid`.
fn without_kid(world: &World) -> String {
    world.issuer.sign_as(&Issuer::dentist_claims("7"), None)
}

#[tokio::test]
async fn a_token_without_a_kid_is_tried_with_the_keys_of_its_algorithm_four_at_most() {
    let world = World::with_django_keys().await;
    let mut tokens = vec![without_kid(&world)];
    world.issuer.rotate_beside_to_ec("key-2");
    tokens.push(without_kid(&world));
    for kid in ["key-3", "key-4", "key-5"] {
        world.issuer.rotate_beside(kid);
        tokens.push(without_kid(&world));
    }
    for token in &tokens {
        assert!(world.verifier.verify(token).await.is_ok());
    }
    // Claims are still checked, and a foreign key is refused.
    let over = with(Issuer::dentist_claims("7"), "exp", json!(now() - 75));
    let over = world.verifier.verify(&world.issuer.sign_as(&over, None)).await;
    assert_eq!(over, Err(AuthError::Expired));
    let world = World::with_django_keys().await;
    let eve = Issuer::start().await;
    assert!(world.refuses(&eve.sign_as(&Issuer::dentist_claims("7"), None)).await);
    // Six keys of one algorithm cost at most four checks.
    let world = World::with_django_keys().await;
    let mut tokens = Vec::new();
    for number in 0..6 {
        world.issuer.rotate_beside(&format!("key-{number}"));
        tokens.push(without_kid(&world));
    }
    let checking = tokens.iter().map(|token| world.verifier.verify(token));
    let checked = futures_util::future::join_all(checking).await;
    assert_eq!(checked.iter().filter(|outcome| outcome.is_ok()).count(), 3, "and the first key");
}

#[tokio::test]
async fn f19_a_new_key_of_tokens_without_a_kid_is_found() {
    let world = World::with_django_keys().await;
    assert!(world.verifier.verify(&without_kid(&world)).await.is_ok());
    world.issuer.rotate_beside("key-2");
    let new = without_kid(&world);
    let early = world.verifier.verify(&new).await;
    assert_eq!(early, Err(AuthError::IssuerUnavailable), "10 s have not passed");
    eventually("the new key is found", async || world.verifier.verify(&new).await.is_ok()).await;
    assert_eq!(world.issuer.fetches(), 2);
}

#[tokio::test]
async fn a_token_ends_by_its_age_where_that_is_limited() {
    let world = World::with(&[("MAX_TOKEN_AGE_S", "600")]).await;
    let issued = |ago: i64| json!(i64::try_from(now()).unwrap() - ago);
    for (iat, whole) in [(issued(0), true), (issued(500), true), (issued(640), true)] {
        for token in [world.customer_with("iat", iat.clone()), dentist_with("iat", iat.clone())] {
            let identity = world.verifier.verify(&token).await;
            let ends = iat.as_i64().unwrap() + 600;
            assert_eq!(identity.is_ok_and(|identity| identity.expires_at == ends), whole);
        }
    }
    for token in [world.customer_with("iat", issued(700)), dentist_with("iat", issued(700))] {
        assert_eq!(world.verifier.verify(&token).await, Err(AuthError::Expired));
    }
    for odd in [Value::Null, json!("now"), json!(now() + 120), json!([])] {
        assert!(world.refuses(&world.customer_with("iat", odd.clone())).await, "{odd}");
        assert!(world.refuses(&dentist_with("iat", odd)).await);
    }
    // An earlier `exp` still ends the token.
    let soon = world.customer_with("exp", json!(now() + 60));
    let identity = world.verifier.verify(&soon).await.unwrap();
    assert!(identity.expires_at <= i64::try_from(now()).unwrap() + 60);
    // By default the age is unlimited and `iat` is optional.
    let world = World::new().await;
    for iat in [Value::Null, issued(1_000_000)] {
        assert!(world.verifier.verify(&world.customer_with("iat", iat)).await.is_ok());
    }
}

#[tokio::test]
async fn b12_a_token_that_lasts_long_is_accepted_whatever_its_last_second_is() {
    let world = World::new().await;
    let last = jiff::Timestamp::MAX.as_second();
    let soon = i64::try_from(now()).unwrap() + 4_000;
    for (exp, ends) in [
        (json!(4_294_967_295_u64), 4_294_967_295),
        (json!(4_294_967_296_u64), 4_294_967_296),
        (json!(last), last),
        // 9999-12-31T23:59:59Z, and times after it.
        (json!(253_402_300_799_u64), last),
        (json!(i64::MAX), last),
        (json!(u64::MAX), last),
        (json!(1e19), last),
        (serde_json::from_str(&format!("{soon}.25")).unwrap(), soon),
    ] {
        for token in [world.customer_with("exp", exp.clone()), dentist_with("exp", exp.clone())] {
            let identity = world.verifier.verify(&token).await.unwrap();
            assert_eq!(identity.expires_at, ends, "{exp}");
        }
    }
    // `MAX_TOKEN_AGE_S` still limits the token.
    let world = World::with(&[("MAX_TOKEN_AGE_S", "600")]).await;
    let identity = world.verifier.verify(&world.customer_with("exp", json!(u64::MAX))).await;
    assert!(identity.unwrap().expires_at <= i64::try_from(now()).unwrap() + 600);
}
