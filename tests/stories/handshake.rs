//! Handshakes of sockets, the duration of connections, and the reasons for their end.

use frontdesk_test_support::{Desk, try_connect, tungstenite::Error};
use serde_json::json;

use crate::{FRONTDESK, one_node};

#[tokio::test]
async fn a_token_comes_in_any_of_three_places() {
    let desk = one_node().await;
    let (customer, _, session) = desk.pair().await;
    let address = desk.nodes[0].address;
    let (bearer, protocol) =
        (format!("Bearer {}", customer.token), format!("bearer, {}", customer.token));
    let query = format!("/ws?token={}", customer.token);
    for (path, header) in [
        ("/ws", Some(("authorization", bearer.as_str()))),
        ("/ws", Some(("sec-websocket-protocol", protocol.as_str()))),
        (query.as_str(), None),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let mut client = try_connect(address, path, &headers).await.unwrap();
        client.join(&session, None).await;
    }
}

#[tokio::test]
async fn without_a_good_token_a_socket_is_closed_with_4401() {
    let desk = one_node().await;
    let customer = desk.customer();
    let address = desk.nodes[0].address;
    let cut = &customer.token[..customer.token.len() - 2];
    for path in ["/ws".to_owned(), "/ws?token=a.b.c".to_owned(), format!("/ws?token={cut}")] {
        let mut client = try_connect(address, &path, &[]).await.unwrap();
        assert_eq!(client.closed().await, 4401);
    }
}

#[tokio::test]
async fn f19_a_key_set_that_can_not_be_had_is_no_fault_of_the_token() {
    let desk = one_node().await;
    desk.issuer.go_away(true);
    let path = format!("/ws?token={}", desk.customer().token);
    assert_eq!(
        refused(desk.nodes[0].address, &path, &[]).await,
        503,
        "the client may try another node"
    );
}

/// Status of a refused handshake.
async fn refused(
    address: std::net::SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> u16 {
    match try_connect(address, path, headers).await.map_err(|error| *error) {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn b17_a_page_from_elsewhere_gets_no_socket() {
    let origins = "https://portal.example,https://*.clinic.example,ionic://localhost";
    let origins = [("CORS_ORIGINS", origins)];
    let desk = Desk::embedded_with(FRONTDESK, &origins).await;
    let customer = desk.customer();
    let (address, path) = (desk.nodes[0].address, format!("/ws?token={}", customer.token));
    for origin in [
        "https://evil.example",
        "https://portal.example.evil.test",
        "https://clinic.example",
        "null",
    ] {
        assert_eq!(refused(address, &path, &[("origin", origin)]).await, 403);
    }
    for origin in ["https://portal.example", "https://a.clinic.example", "ionic://localhost"] {
        let mut welcome = try_connect(address, &path, &[("origin", origin)]).await.unwrap();
        assert!(welcome.events_so_far().await.is_empty(), "{origin}");
    }
    assert!(try_connect(address, &path, &[]).await.is_ok(), "an app sends no origin");
}

#[tokio::test]
async fn b19_a_handshake_that_is_none_is_refused() {
    let desk = one_node().await;
    let customer = desk.customer();
    let (address, path) = (desk.nodes[0].address, format!("/ws?token={}", customer.token));
    for (name, value) in [
        ("sec-websocket-version", "8"),
        ("sec-websocket-key", ""),
        ("sec-websocket-key", "c2hvcnQ="),
        ("sec-websocket-key", "not base64 at all!!!"),
    ] {
        assert_eq!(refused(address, &path, &[(name, value)]).await, 400, "{name}: {value}");
    }
    let plain = desk.http(0, &customer).get("/ws").await;
    assert_eq!((plain.status, &plain.body["code"]), (400, &json!("invalid_request")));
    desk.is_unharmed(&[&customer], &[]).await;
}

#[tokio::test]
async fn f22_f28_who_answers_pings_stays_and_who_vanishes_is_gone() {
    let pings = [("PING_INTERVAL_MS", "200"), ("PING_TIMEOUT_MS", "400")];
    let desk = Desk::embedded_with(FRONTDESK, &pings).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut idle = desk.connect(0, &customer).await;
    idle.join(&session, None).await;
    let mut silent = desk.connect(0, &dentist).await;
    silent.join(&session, None).await;
    // This client is not polled, so it answers no ping, as a phone without a network.
    let silence = std::time::Duration::from_millis(1_500);
    let waiting = tokio::time::timeout(silence, idle.message()).await;
    assert!(waiting.is_err(), "a message arrived");
    assert_eq!(silent.closed().await, 1006, "the server sent a close frame to a dead client");
    assert_eq!(idle.send(&session, "k", "still here").await["seq"], 1);
}
