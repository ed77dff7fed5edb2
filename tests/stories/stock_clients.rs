//! Unmodified Socket.IO clients: connect, a refused token, join, send, receive, and reconnection after
//! the nodes were killed.

use frontdesk_test_support::{Desk, Nginx, StockClient};
use serde_json::{Value, json};

use crate::{one_node, two_nodes};

/// Input of the scripts, with each end on its own node if there are two.
async fn story(desk: &Desk, transports: Option<&[&str]>) -> Value {
    let (customer, dentist, session) = desk.pair().await;
    let last = desk.nodes.len() - 1;
    json!({
        "urls": [desk.nodes[0].url(""), desk.nodes[last].url("")],
        "transports": transports, "session": session,
        "patient": customer.token, "dentist": dentist.token,
    })
}

async fn tell(mut desk: Desk, mut client: StockClient) {
    client.reaches("restart").await;
    for node in &mut desk.nodes {
        node.restart().await;
    }
    client.go_on().await;
    client.end().await;
}

#[tokio::test]
async fn the_javascript_client_with_its_default_options() {
    for desk in [one_node().await, two_nodes().await] {
        let client = StockClient::javascript(&story(&desk, None).await).await;
        tell(desk, client).await;
    }
}

#[tokio::test]
async fn the_javascript_client_with_websockets_only() {
    for desk in [one_node().await, two_nodes().await] {
        let client = StockClient::javascript(&story(&desk, Some(&["websocket"])).await).await;
        tell(desk, client).await;
    }
}

#[tokio::test]
async fn the_javascript_client_with_polling_only() {
    for desk in [one_node().await, two_nodes().await] {
        let client = StockClient::javascript(&story(&desk, Some(&["polling"])).await).await;
        tell(desk, client).await;
    }
}

#[tokio::test]
async fn the_javascript_client_recovers_on_another_node_and_after_all_nodes_were_killed() {
    for transports in [None, Some(&["polling"][..])] {
        let desk = two_nodes().await;
        let client = StockClient::javascript_recovering(&story(&desk, transports).await).await;
        tell(desk, client).await;
    }
}

/// Each request of a client may reach another node than the one before.
async fn behind_nginx(client: impl AsyncFn(&Value) -> StockClient, transports: Option<&[&str]>) {
    let desk = two_nodes().await;
    let nginx = Nginx::start(&desk.nodes.iter().map(|node| node.address).collect::<Vec<_>>()).await;
    let mut story = story(&desk, transports).await;
    let url = format!("http://{}", nginx.address);
    story["urls"] = json!([url, url]);
    tell(desk, client(&story).await).await;
}

#[tokio::test]
async fn the_javascript_client_with_its_default_options_behind_nginx_without_stickiness() {
    behind_nginx(StockClient::javascript, None).await;
}

#[tokio::test]
async fn the_javascript_client_with_polling_only_behind_nginx_without_stickiness() {
    behind_nginx(StockClient::javascript, Some(&["polling"])).await;
}

#[tokio::test]
async fn the_python_and_rust_clients_behind_nginx_without_stickiness() {
    for transports in [None, Some(&["polling"][..])] {
        behind_nginx(StockClient::python, transports).await;
        behind_nginx(StockClient::rust, transports).await;
    }
}

#[tokio::test]
async fn the_javascript_client_that_retries_is_held_up_by_no_event_without_an_answer() {
    for transport in ["websocket", "polling"] {
        let desk = one_node().await;
        let (customer, _, session) = desk.pair().await;
        let story = json!({
            "url": desk.nodes[0].url(""), "transports": [transport], "session": session,
            "patient": customer.token,
        });
        StockClient::javascript_retrying(&story).await.end().await;
    }
}

#[tokio::test]
async fn the_python_client_polls_and_posts_many_packets_at_once() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut doctor = desk.connect(0, &dentist).await;
    for number in 0..150 {
        doctor.send(&session, &number.to_string(), "x").await;
    }
    let story = json!({
        "url": desk.nodes[0].url(""), "token": customer.token, "session": session,
    });
    StockClient::python_flushing(&story).await.end().await;
}

#[tokio::test]
async fn the_rust_client() {
    for transports in [None, Some(&["websocket"][..]), Some(&["polling"][..])] {
        let desk = two_nodes().await;
        let client = StockClient::rust(&story(&desk, transports).await).await;
        tell(desk, client).await;
    }
}

#[tokio::test]
async fn the_python_client() {
    for transports in [None, Some(&["websocket"][..]), Some(&["polling"][..])] {
        let desk = two_nodes().await;
        let client = StockClient::python(&story(&desk, transports).await).await;
        tell(desk, client).await;
    }
}
