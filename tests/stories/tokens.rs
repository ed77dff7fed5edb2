//! A socket lives as long as its token: its warning, and the refresh by a newer token.

use frontdesk_test_support::{Client, Desk, Framing, Issuer, Person, now};
use serde_json::{Value, json};

use crate::one_node;

const FRAMINGS: [Framing; 2] = [Framing::Native, Framing::SocketIo];

/// A token of this customer that ends in this number of seconds; a negative one lies in the past.
fn token(desk: &Desk, customer: &Person, ends_in: i64) -> (String, i64) {
    let ends = i64::try_from(now()).unwrap() + ends_in;
    let mut claims = desk.issuer.customer_claims(&customer.id);
    claims["exp"] = ends.into();
    (desk.issuer.sign(&claims), ends)
}

fn time() -> i64 {
    now().try_into().unwrap()
}

async fn refresh(client: &mut Client, token: &str) -> Result<Value, Value> {
    client.request("auth:refresh", json!({ "token": token })).await
}

fn seconds(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}

#[tokio::test]
async fn f25_b16_a_token_that_ends_takes_its_connection_along_unless_it_is_refreshed() {
    let desk = one_node().await;
    let both = FRAMINGS.map(|framing| a_token_ends(&desk, framing));
    futures_util::future::join_all(both).await;
}

async fn a_token_ends(desk: &Desk, framing: Framing) {
    let (customer, _, session) = desk.pair().await;
    let address = desk.nodes[0].address;
    // The token has ended, and its leeway of 60 s is over in 12 s.
    let (short, ends) = token(desk, &customer, -48);
    let mut kept = Client::connect_by(framing, address, &short).await;
    let mut lost = Client::connect_by(framing, address, &short).await;
    for client in [&mut kept, &mut lost] {
        assert_eq!(seconds(&client.event("auth:expiring").await["expiresAt"]), ends);
    }

    // Refused: a token of another person, an invalid one, an expired one, and one older than the
    // current token.
    let (over, _) = token(desk, &customer, -120);
    let (older, _) = token(desk, &customer, -52);
    for (other, code) in [
        (desk.customer().token, "forbidden"),
        (Issuer::dentist(&customer.id), "forbidden"),
        ("a.b.c".to_owned(), "token_invalid"),
        (format!("{}x", customer.token), "token_invalid"),
        (over, "token_expired"),
        (older, "invalid_request"),
    ] {
        for client in [&mut kept, &mut lost] {
            assert_eq!(refresh(client, &other).await.unwrap_err()["code"], code);
        }
    }
    let told = refresh(&mut kept, &customer.token).await.unwrap();
    assert!(seconds(&told["expiresAt"]) > ends + 3_000);

    // Refused refreshes neither shorten nor extend the connection: it ends with the leeway of its
    // token.
    assert_eq!(lost.closed().await, 4401);
    let closed = time();
    assert!((ends + 60..ends + 60 + 30).contains(&closed), "{} s after", closed - ends - 60);
    assert_eq!(kept.send(&session, "k", "still here").await["seq"], 1);
    assert!(kept.events_so_far().await.is_empty(), "the refreshed connection stays open");
}

#[tokio::test]
async fn a_connection_is_told_a_minute_before_its_token_ends() {
    let desk = one_node().await;
    for framing in FRAMINGS {
        let customer = desk.customer();
        let address = desk.nodes[0].address;
        let (later, ends) = token(&desk, &customer, 64);
        let mut client = Client::connect_by(framing, address, &later).await;
        assert_eq!(seconds(&client.event("auth:expiring").await["expiresAt"]), ends);
        assert!(time() >= ends - 60, "{} s too early", ends - 60 - time());
        // A token that ends within a minute is announced at once, after a refresh too.
        let (soon, ends) = token(&desk, &customer, 65);
        refresh(&mut client, &soon).await.unwrap();
        assert_eq!(seconds(&client.event("auth:expiring").await["expiresAt"]), ends);
        let (at_once, ends) = token(&desk, &customer, 30);
        let mut other = Client::connect_by(framing, address, &at_once).await;
        assert_eq!(seconds(&other.event("auth:expiring").await["expiresAt"]), ends);
        assert!(time() < ends);
        // A long-lived token is not announced.
        refresh(&mut other, &customer.token).await.unwrap();
        assert!(other.events_so_far().await.is_empty());
    }
}
