//! Engine.IO session: one Socket.IO connection, carried by polls or a WebSocket.
//!
//! The session's task lives as long as the connection. Its transport may change. A transport puts the
//! client's packets into `inbound`, and takes packets for the client from `frames`.

mod entry;
mod outgoing;
pub(crate) mod polling;
pub(crate) mod websocket;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, stream};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{Mutex, Notify, mpsc, watch},
    time::{Instant, timeout},
};

pub(crate) use entry::Entry;
use entry::{Entered, Refusal};

use super::live;
use crate::Gateway;
use chat::{
    outbound::{Frame, Outbound, OutboundParts, QUEUE, Queued, Written},
    recovery::Recovery,
};
use identity::auth::is_same_secret;
use outgoing::Outgoing;
use protocol::{
    CloseCode, Framing, Incoming,
    engineio::{self, Open, PACKET_MAX},
    error::Error,
    socketio::{self, NAMESPACE, Packet},
};

/// Maximum number of a client's packets that wait for the connection. Further ones wait in the transport.
const INBOUND: usize = 8;
/// Time for which an ended session waits for one more poll to take the rest.
const LINGER: Duration = Duration::from_secs(2);

/// Data received by a transport.
#[derive(Debug)]
pub(crate) enum Inbound {
    Message(String),
    Binary,
    Pong,
    Bad(CloseCode),
    Closed,
}

/// Session as seen by transports.
#[derive(Debug)]
pub(crate) struct EngineSession {
    /// Contains the node's name. The rest is unguessable, so possession identifies the client.
    sid: String,
    inbound: mpsc::Sender<Inbound>,
    /// Law I10: the only mutex that is held across an await, and it is tokio's. A transport holds it while it
    /// takes packets; only another transport of the session waits for it.
    outgoing: Mutex<Outgoing>,
    /// Set when the client has entered the namespace.
    outbound: OnceLock<Arc<Outbound>>,
    on_websocket: AtomicBool,
    /// Whether a WebSocket is being probed. Then polls end at once.
    probing: watch::Sender<bool>,
    polling: AtomicBool,
    posting: AtomicBool,
    upgrading: AtomicBool,
    /// Token of the handshake.
    token: Option<SecretString>,
    /// Notified when a poll has reported the end to the client.
    told: Notify,
    ended: watch::Sender<Option<CloseCode>>,
}

impl EngineSession {
    /// Opens a session and starts its task. Its first frame is the answer to the handshake. `token` is
    /// the handshake's. It counts if the client connects without one.
    pub(crate) fn open(
        gateway: &Arc<Gateway>,
        entry: Entry,
        token: Option<SecretString>,
        upgrades: &[&str],
    ) -> Arc<Self> {
        let (inbound, packets) = mpsc::channel(INBOUND);
        let (queue, frames) = mpsc::channel(QUEUE);
        let session = Arc::new(Self {
            sid: format!("{}.{}", gateway.node, unguessable()),
            inbound,
            outgoing: Mutex::new(Outgoing { frames, recovery: Recovery::default() }),
            outbound: OnceLock::new(),
            on_websocket: AtomicBool::new(false),
            probing: watch::Sender::new(false),
            polling: AtomicBool::new(false),
            posting: AtomicBool::new(false),
            upgrading: AtomicBool::new(false),
            token,
            told: Notify::new(),
            ended: watch::Sender::new(None),
        });
        let open = Open {
            sid: &session.sid,
            upgrades,
            ping_interval: gateway.config.ping_interval.as_millis(),
            ping_timeout: gateway.config.ping_timeout.as_millis(),
            // Clients that respect this limit send short posts.
            max_payload: PACKET_MAX,
        };
        // The queue is empty, so there is room.
        drop(queue.try_send(Frame::Control(open.to_packet()).into()));
        gateway.engines.insert(session.sid.clone(), Arc::clone(&session));
        let registered = Registered { gateway: Arc::clone(gateway), session: Arc::clone(&session) };
        gateway.tasks.spawn_once("connection.engineio", run(registered, entry, packets, queue));
        session
    }

    /// Whether this is the token of the handshake.
    pub(crate) fn began_with(&self, token: &SecretString) -> bool {
        let token = token.expose_secret();
        self.token.as_ref().is_some_and(|first| is_same_secret(first.expose_secret(), token))
    }

    /// The connection's queue, once the client has entered the namespace.
    pub(crate) fn outbound(&self) -> Option<&Arc<Outbound>> {
        self.outbound.get()
    }

    pub(crate) fn is_on_websocket(&self) -> bool {
        self.on_websocket.load(Ordering::SeqCst)
    }

    /// Records a completed write.
    fn written(&self, written: Written) {
        if let Some(outbound) = self.outbound.get() {
            outbound.written(written);
        }
    }

    /// Records a sign of life that is not a packet: a poll, or the move to a WebSocket.
    fn alive(&self) {
        if let Some(outbound) = self.outbound.get() {
            outbound.alive();
        }
    }

    /// Whether the client owes a sign of life.
    fn waits_for_life(&self) -> bool {
        self.outbound.get().is_some_and(|outbound| outbound.liveness().waits())
    }

    /// Passes on received data. False if the session has ended.
    async fn receive(&self, inbound: Inbound) -> bool {
        self.inbound.send(inbound).await.is_ok()
    }

    /// Passes on a packet in its text form.
    async fn receive_text(&self, text: &str) -> bool {
        let inbound = match engineio::parse(text) {
            Ok(engineio::Packet::Message(message)) => Inbound::Message(message.to_owned()),
            Ok(engineio::Packet::Binary) => Inbound::Binary,
            Ok(engineio::Packet::Pong | engineio::Packet::Noop) => Inbound::Pong,
            Ok(engineio::Packet::Close) => Inbound::Closed,
            Err(engineio::BadPacket) => Inbound::Bad(CloseCode::BadFrame),
        };
        self.receive(inbound).await
    }

    /// Resolves with the close code when the session has ended.
    async fn until_ended(&self) -> CloseCode {
        let mut ended = self.ended.subscribe();
        ended.wait_for(Option::is_some).await.ok().and_then(|code| *code).unwrap_or(CloseCode::Bye)
    }
}

/// Removes the session from the node's table, however its task ends.
struct Registered {
    gateway: Arc<Gateway>,
    session: Arc<EngineSession>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.gateway.engines.remove(&self.session.sid);
    }
}

async fn run(
    registered: Registered,
    entry: Entry,
    mut packets: mpsc::Receiver<Inbound>,
    queue: mpsc::Sender<Queued>,
) {
    let Registered { gateway, session } = &registered;
    let opened = Instant::now();
    let _open = gateway.sockets.subscribe();
    let entered = entry.enter(gateway, &mut packets, &queue, session.token.as_ref()).await;
    let mut lingers = true;
    let code = match entered {
        Ok(Entered { identity, resumed, slots: _slots }) => {
            let (id, scope) = (gateway.chat.hub.new_connection_id(), identity.scope.clone());
            let outbound = {
                let (receipts, counts) =
                    (Arc::clone(&gateway.chat.receipts), Arc::clone(&gateway.counts.connections));
                let (framing, queue) = (Framing::SocketIo, queue.clone());
                Outbound::new(OutboundParts {
                    id,
                    scope,
                    framing,
                    queue,
                    receipts,
                    counts,
                    memory: Arc::clone(&gateway.chat.memory),
                })
            };
            let outbound = session.outbound.get_or_init(|| outbound);
            let reader = Reader { packets, bytes: None, outbound: Arc::clone(outbound) };
            live(gateway, identity, outbound, resumed, Box::pin(incoming(reader)), opened).await
        }
        Err(Refusal::Evicted) => {
            // Others need its slot and memory.
            lingers = false;
            Some(CloseCode::TooManyConnections)
        }
        Err(Refusal::Closed(code)) => Some(code),
    };
    if matches!(code, Some(CloseCode::Unauthorized | CloseCode::NotAllowed)) {
        // A client that receives this packet does not reconnect by itself with the same token.
        drop(queue.try_send(Frame::Control(socketio::DISCONNECT).into()));
    }
    // A WebSocket clears its queue itself.
    if code == Some(CloseCode::SlowReader)
        && let Ok(mut outgoing) = session.outgoing.try_lock()
    {
        outgoing.clear();
    }
    session.ended.send_replace(Some(code.unwrap_or(CloseCode::Bye)));
    if lingers && !session.is_on_websocket() && code.is_some() {
        drop(timeout(LINGER, session.told.notified()).await);
    }
}

fn unguessable() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Packets as input of a connection.
fn incoming(reader: Reader) -> impl Stream<Item = Incoming> {
    stream::unfold(reader, |mut reader| async {
        let inbound = reader.packets.recv().await?;
        Some((reader.read(&inbound), reader))
    })
}

struct Reader {
    packets: mpsc::Receiver<Inbound>,
    /// Event whose attachments are incomplete: its id, and how many are missing.
    bytes: Option<(Option<u64>, usize)>,
    outbound: Arc<Outbound>,
}

impl Reader {
    fn read(&mut self, inbound: &Inbound) -> Incoming {
        match (inbound, self.bytes.take()) {
            (Inbound::Message(text), None) => self.message(text),
            (Inbound::Binary, Some((id, left))) => self.await_bytes(id, left - 1),
            (Inbound::Message(_), Some(_)) | (Inbound::Binary, None) => {
                Incoming::End(CloseCode::BadFrame)
            }
            (Inbound::Pong, bytes) => {
                self.bytes = bytes;
                Incoming::Alive
            }
            (Inbound::Bad(code), _) => Incoming::End(*code),
            (Inbound::Closed, _) => Incoming::Gone,
        }
    }

    fn message(&mut self, text: &str) -> Incoming {
        match socketio::parse(text) {
            Ok(Packet::Event { id, event }) => Incoming::Request { id, event },
            Ok(Packet::BinaryEvent { id, attachments }) => self.await_bytes(id, attachments),
            Ok(Packet::Ack) => Incoming::Alive,
            Ok(Packet::Disconnect) => Incoming::End(CloseCode::Bye),
            Ok(Packet::Connect { namespace, .. }) if namespace != NAMESPACE => {
                // Clients share one connection between namespaces, so this one stays open.
                let refused = socketio::connect_error(namespace, "Invalid namespace", None);
                self.outbound.control(refused);
                Incoming::Alive
            }
            Ok(Packet::Connect { .. }) | Err(socketio::BadPacket) => {
                Incoming::End(CloseCode::BadFrame)
            }
        }
    }

    /// No event takes attachments. The error is sent when all have arrived.
    fn await_bytes(&mut self, id: Option<u64>, left: usize) -> Incoming {
        if left > 0 {
            self.bytes = Some((id, left));
            return Incoming::Alive;
        }
        Incoming::Request { id, event: Err(Error::invalid("data", "expected JSON, not bytes")) }
    }
}
