//! Requests of a client that polls by a node that does not hold its session.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use frontdesk_test_support::{Desk, Http, Redis, eventually};
use tokio::net::{TcpListener, TcpStream};

use crate::{FRONTDESK, engineio::Poller};

/// Relays connections to a node, and counts them.
async fn relay(listener: TcpListener, to: SocketAddr, count: Arc<AtomicUsize>) {
    while let Ok((mut client, _)) = listener.accept().await {
        count.fetch_add(1, Ordering::Relaxed);
        let mut node = TcpStream::connect(to).await.unwrap();
        tokio::spawn(async move {
            drop(tokio::io::copy_bidirectional(&mut client, &mut node).await);
        });
    }
}

#[tokio::test]
async fn the_requests_of_a_client_are_carried_by_one_connection() {
    let redis = Redis::start().await;
    let mut desk = Desk::cluster_with(FRONTDESK, 1, redis.port, &[]).await;
    // The relay is on the way to the node that holds the session.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let holder = desk.nodes[0].another(&[("NODE_ADDRESS", address)]).await;
    desk.nodes.push(holder);
    let connections = Arc::<AtomicUsize>::default();
    tokio::spawn(relay(listener, desk.nodes[1].address, Arc::clone(&connections)));
    let customer = desk.customer();
    let mut poller = Poller::enter(desk.nodes[1].address, &customer.token).await;
    poller.http = Http::new(desk.nodes[0].address, None);
    eventually("the nodes know each other", async || poller.post("3").await.text == "ok").await;
    let before = connections.load(Ordering::Relaxed);
    assert!(before > 0, "the requests do not pass the relay");
    for number in 0..20 {
        poller.say(&format!("42{number}[\"no:such\"]")).await;
        assert!(poller.hear().await.starts_with(&format!("43{number}[")));
    }
    let made = connections.load(Ordering::Relaxed) - before;
    // A request that follows a pause of the machine finds none.
    assert!(made <= 4, "{made}");
}
