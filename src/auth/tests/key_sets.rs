//! Key sets that are odd, and tokens that are old.

use super::*;

/// Entries that can't be used, each in its own way, but for the last, which is for encryption.
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
    assert_eq!(ada.person.id.as_str(), "ada");
    // Nor do they make a key of their own.
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
    // A set without end of keys that all have one name costs four checks.
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
    // Its own end counts where it is earlier.
    let soon = world.customer_with("exp", json!(now() + 60));
    let identity = world.verifier.verify(&soon).await.unwrap();
    assert!(identity.expires_at <= i64::try_from(now()).unwrap() + 60);
    // By default there is no limit, and no iat is needed.
    let world = World::new().await;
    for iat in [Value::Null, issued(1_000_000)] {
        assert!(world.verifier.verify(&world.customer_with("iat", iat)).await.is_ok());
    }
}
