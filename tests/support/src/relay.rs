//! A way to a server that can be cut.

use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// Passes connections on to a port of this machine, until it is cut.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    passing: AbortHandle,
}

impl Relay {
    /// Starts to listen.
    pub async fn start(server: u16) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), server)
    }

    /// Passes on what comes to a listener that was there before.
    #[must_use]
    pub fn on(listener: TcpListener, server: u16) -> Self {
        let port = listener.local_addr().unwrap().port();
        Self { port, passing: tokio::spawn(pass(listener, server)).abort_handle() }
    }

    /// Cuts every connection, and takes no more.
    pub fn cut(&self) {
        self.passing.abort();
    }
}

async fn pass(listener: TcpListener, server: u16) {
    // They end with this set, when the task is aborted.
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
        });
    }
}
