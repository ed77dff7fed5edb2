//! A relay to a node that drops, doubles or swaps messages to the client, which a load test must
//! notice.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// Fault in the delivery to the client, applied to every fifth `message:new` of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The message does not arrive.
    Dropped,
    /// The message arrives twice.
    Doubled,
    /// The message arrives after the next one.
    Swapped,
    /// The message arrives, but over HTTP every session claims to have no messages (`lastSeq` 0).
    Forgotten,
}

/// Relays connections to a node of this machine and tampers with its responses.
#[derive(Debug)]
pub struct Tampering {
    /// Port on 127.0.0.1.
    pub port: u16,
    passing: AbortHandle,
}

impl Tampering {
    /// Starts a relay on a free port.
    pub async fn start(node: u16, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let passing = tokio::spawn(async move {
            // The connections end with this set when the task is aborted.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(connection(client, node, fault));
            }
        });
        Self { port, passing: passing.abort_handle() }
    }
}

impl Drop for Tampering {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn connection(client: TcpStream, node: u16, fault: Fault) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", node)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let down = async {
        let mut tamper = Tamper { fault, read: Vec::new(), frames: false, told: 0, held: None };
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from_server.read(&mut buffer).await?;
            if length == 0 {
                return to_client.shutdown().await;
            }
            to_client.write_all(&tamper.pass(&buffer[..length])).await?;
        }
    };
    tokio::try_join!(up, down).map(drop)
}

/// The server's output on one connection.
struct Tamper {
    fault: Fault,
    read: Vec<u8>,
    frames: bool,
    told: usize,
    held: Option<Vec<u8>>,
}

impl Tamper {
    /// Adds bytes of the server and returns the bytes for the client.
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.read.extend_from_slice(bytes);
        if !self.frames {
            // Only the response that upgrades to a WebSocket is followed by frames; others pass.
            if !self.read.starts_with(b"HTTP/1.1 101 ") {
                let mut answer = std::mem::take(&mut self.read);
                if self.fault == Fault::Forgotten {
                    forget(&mut answer);
                }
                return answer;
            }
            let Some(head) = self.read.windows(4).position(|end| end == b"\r\n\r\n") else {
                return Vec::new();
            };
            self.frames = true;
            let mut on = self.read.drain(..head + 4).collect::<Vec<u8>>();
            on.extend(self.pass(&[]));
            return on;
        }
        let mut on = Vec::new();
        while let Some(length) = frame_length(&self.read) {
            let frame = self.read.drain(..length).collect();
            self.frame(frame, &mut on);
        }
        on
    }

    fn frame(&mut self, frame: Vec<u8>, on: &mut Vec<u8>) {
        let new = b"\"message:new\"";
        if !frame.windows(new.len()).any(|part| part == new) {
            return on.extend(frame);
        }
        self.told += 1;
        if !self.told.is_multiple_of(5) {
            on.extend(frame);
            on.extend(self.held.take().unwrap_or_default());
            return;
        }
        match self.fault {
            Fault::Dropped => {}
            Fault::Doubled => on.extend([&frame[..], &frame].concat()),
            Fault::Swapped => self.held = Some(frame),
            Fault::Forgotten => on.extend(frame),
        }
    }
}

/// Sets every `lastSeq` to 0 without changing the length of the response.
fn forget(answer: &mut [u8]) {
    let name = b"\"lastSeq\":";
    let mut at = 0;
    while let Some(found) = answer[at..].windows(name.len()).position(|part| part == name) {
        at += found + name.len();
        let digits = answer[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        answer[at..at + digits].fill(b' ');
        answer[at] = b'0';
    }
}

/// Length of the first frame, if it is complete. Frames of servers have no mask.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = match *bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        127 => 10 + usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        short => 2 + usize::from(short),
    };
    (bytes.len() >= length).then_some(length)
}
