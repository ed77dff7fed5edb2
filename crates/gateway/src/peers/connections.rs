//! Idle connections to the other nodes. A client that polls sends its next request at once, so most carried
//! requests find a connection.
//!
//! A node has proved its identity on each of them, if it signs its address.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use hyper::client::conn::http1::SendRequest;
use tokio::{net::TcpStream, time::Instant};

use crate::limits;
use bus::{ADDRESS_LEASE_SECS, NodeAddress};

/// Time limit of an idle connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of idle connections, to all nodes together.
const IDLE_MAX: usize = 256;

/// A node closes connections that are idle for longer. A request that meets the close is lost.
const _: () = assert!(IDLE_TIMEOUT.as_millis() < limits::IDLE_TIMEOUT_MIN.as_millis());

/// Time limit for a node's machine to acknowledge the bytes sent to it.
#[cfg(target_os = "linux")]
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(5);

/// A vanished node loses its address on the bus after the lease. Requests that wait for it end sooner.
#[cfg(target_os = "linux")]
const _: () = assert!(ACKNOWLEDGE_TIMEOUT.as_secs().cast_signed() < ADDRESS_LEASE_SECS);

/// Connects to a node. A machine that vanishes later closes nothing, and a request to it would wait as long as
/// a poll may take. The system therefore ends the connection when sent bytes stay unacknowledged, or when the
/// node does not read for as long. Systems other than Linux keep their own limits.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(ACKNOWLEDGE_TIMEOUT))?;
    Ok(stream)
}

/// A connection to a node, for one request at a time.
pub(super) type Sender = SendRequest<Body>;

/// The idle connections of this node.
#[derive(Default)]
pub(crate) struct NodeConnections(Mutex<VecDeque<Idle>>);

struct Idle {
    node: String,
    at: NodeAddress,
    since: Instant,
    sender: Sender,
}

impl NodeConnections {
    /// The connections without those over their time limit, oldest first.
    fn fresh(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while all.pop_front_if(|oldest| oldest.since.elapsed() >= IDLE_TIMEOUT).is_some() {}
        all
    }

    /// Takes the connection to this node that was idle for the shortest time.
    pub(super) fn take(&self, node: &str, at: NodeAddress) -> Option<Sender> {
        let mut all = self.fresh();
        let found = all
            .iter()
            .rposition(|idle| idle.at == at && idle.node == node && idle.sender.is_ready())?;
        all.remove(found).map(|idle| idle.sender)
    }

    /// Keeps a connection. If there are too many, the oldest one is closed.
    pub(super) fn put(&self, node: String, at: NodeAddress, sender: Sender) {
        let mut all = self.fresh();
        if all.len() >= IDLE_MAX {
            all.pop_front();
        }
        all.push_back(Idle { node, at, since: Instant::now(), sender });
    }

    /// Closes the connections to a node that does not answer.
    pub(super) fn forget(&self, node: &str) {
        self.fresh().retain(|idle| idle.node != node);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        net::TcpListener,
        time::{advance, timeout},
    };

    use super::*;

    const AT: NodeAddress = NodeAddress {
        address: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1),
        tls: None,
        is_signed: true,
    };

    /// A connection, and its other end.
    async fn connection() -> (Sender, DuplexStream) {
        let (here, there) = duplex(1_024);
        let (mut sender, connection) = http1::handshake(TokioIo::new(here)).await.unwrap();
        tokio::spawn(connection);
        sender.ready().await.unwrap();
        (sender, there)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_ends_when_its_other_machine_vanishes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = connect(listener.local_addr().unwrap()).await.unwrap();
        let (there, _) = listener.accept().await.unwrap();
        // `BPF_RET`: it keeps 0 bytes of every packet, so none is acknowledged.
        let drop_all = socket2::SockFilter::new(0x06, 0, 0, 0);
        socket2::SockRef::from(&there).attach_filter(&[drop_all]).unwrap();
        stream.write_all(b"GET").await.unwrap();
        let since = Instant::now();
        let ended = timeout(ACKNOWLEDGE_TIMEOUT * 2, stream.read_u8()).await;
        let error = ended.expect("it waits for the vanished machine").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(since.elapsed() > ACKNOWLEDGE_TIMEOUT / 2, "a slow machine keeps its connections");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_for_its_node_at_its_address_and_for_a_moment() {
        let all = NodeConnections::default();
        let (sender, _there) = connection().await;
        all.put("a".to_owned(), AT, sender);
        assert!(all.take("b", AT).is_none());
        assert!(all.take("a", NodeAddress { is_signed: false, ..AT }).is_none());
        let sender = all.take("a", AT).unwrap();
        assert!(all.take("a", AT).is_none(), "one request at a time");
        all.put("a".to_owned(), AT, sender);
        all.forget("b");
        advance(IDLE_TIMEOUT / 2).await;
        let sender = all.take("a", AT).unwrap();
        all.put("a".to_owned(), AT, sender);
        advance(IDLE_TIMEOUT).await;
        assert!(all.take("a", AT).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_are_bounded_and_a_closed_one_is_not_used() {
        let all = NodeConnections::default();
        let mut others = Vec::new();
        for _ in 0..=IDLE_MAX {
            let (sender, there) = connection().await;
            all.put("a".to_owned(), AT, sender);
            others.push(there);
        }
        assert_eq!(all.fresh().len(), IDLE_MAX);
        drop(others);
        while all.fresh().iter().any(|idle| idle.sender.is_ready()) {
            tokio::task::yield_now().await;
        }
        assert!(all.take("a", AT).is_none());
        let (sender, _there) = connection().await;
        all.put("a".to_owned(), AT, sender);
        all.forget("a");
        assert!(all.take("a", AT).is_none());
    }
}
