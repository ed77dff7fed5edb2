//! A TCP relay to a server that can cut, stall, delay and redirect connections.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// State of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Passes everything on.
    Open,
    /// Connections are closed, and new ones are closed at once.
    Cut,
    /// Bytes wait in the relay; neither side is notified.
    Stalled,
    /// Each read is passed on after this delay.
    Slow(Duration),
    /// Bytes arrive seven at a time.
    Crumbs,
    /// Sends nonsense instead of the server's response, and closes that direction.
    Nonsense,
}

/// Relays connections to a port of this machine.
#[derive(Debug)]
pub struct Relay {
    /// Port on 127.0.0.1.
    pub port: u16,
    state: watch::Sender<State>,
    passing: AbortHandle,
}

#[derive(Clone, Copy, Debug)]
struct State {
    way: Way,
    server: u16,
    /// Number of times that all connections were cut.
    cuts: u64,
    /// Number of times that all connections were deserted.
    desertions: u64,
}

impl Relay {
    /// Starts a relay on a free port.
    pub async fn start(server: u16) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), server)
    }

    /// Starts a relay on an existing listener.
    #[must_use]
    pub fn on(listener: TcpListener, server: u16) -> Self {
        let port = listener.local_addr().unwrap().port();
        let state = watch::Sender::new(State { way: Way::Open, server, cuts: 0, desertions: 0 });
        let passing = tokio::spawn(pass(listener, state.subscribe())).abort_handle();
        Self { port, state, passing }
    }

    /// Closes every connection and the port, for good.
    pub fn cut(&self) {
        self.passing.abort();
    }

    /// Sets the state, for open connections too.
    pub fn be(&self, way: Way) {
        self.state.send_modify(|state| state.way = way);
    }

    /// Closes every connection; new ones go to another server.
    pub fn lead_to(&self, server: u16) {
        self.state.send_modify(|state| (state.server, state.cuts) = (server, state.cuts + 1));
    }

    /// Sends new connections to another server; open ones stay.
    pub fn lead_new_to(&self, server: u16) {
        self.state.send_modify(|state| state.server = server);
    }

    /// Stalls the open connections for good without closing them; new ones work.
    pub fn desert(&self) {
        self.state.send_modify(|state| state.desertions += 1);
    }
}

async fn pass(listener: TcpListener, state: watch::Receiver<State>) {
    // The connections end with this set when the task is aborted.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let now = *state.borrow();
        if now.way != Way::Cut {
            connections.spawn(connection(client, now, state.clone()));
        }
    }
}

async fn connection(client: TcpStream, now: State, mut state: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", now.server)).await else { return };
    for stream in [&client, &server] {
        drop(stream.set_nodelay(true));
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, down) = (state.clone(), state.clone());
    let passing = async {
        tokio::join!(
            pump(from_client, to_server, up, now.desertions, false),
            pump(from_server, to_client, down, now.desertions, true)
        )
    };
    tokio::select! {
        _ = passing => {}
        _ = state.wait_for(|state| state.way == Way::Cut || state.cuts != now.cuts) => {}
    }
}

/// Copies bytes in one direction, by the state at the time of each read.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    desertions: u64,
    answers: bool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let is_open = |state: &State| state.way != Way::Stalled && state.desertions == desertions;
        let passed = state.wait_for(is_open).await;
        let way = passed.map_or(Way::Cut, |state| state.way);
        match way {
            Way::Slow(by) => {
                sleep(by).await;
                to.write_all(&buffer[..length]).await?;
            }
            Way::Crumbs => {
                for crumb in buffer[..length].chunks(7) {
                    to.write_all(crumb).await?;
                    tokio::task::yield_now().await;
                }
            }
            Way::Nonsense if answers => {
                to.write_all(b"\0\xff<html>*-3\r\nnonsense").await?;
                return Ok(());
            }
            _ => to.write_all(&buffer[..length]).await?,
        }
    }
}
