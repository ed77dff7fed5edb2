//! The outside of chat: sockets, events, the HTTP API, limits, and requests that other nodes carry here.

mod caller;
mod connection;
mod events;
pub mod http;
pub mod limits;
pub mod peers;
pub mod routes;

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use dashmap::DashMap;
use futures_util::FutureExt;
use ipnet::IpNet;
use secrecy::SecretString;
use tokio::sync::watch;

use bus::{
    NodeAddress, NodeRegistry,
    cluster::{ClusterSecret, Replays},
    redis::config::HostPort,
};
use chat::{Chat, outbound::counts::ConnectionCounts, store::search::counts::SearchCounts};
use connection::engineio::EngineSession;
use db::Database;
use http::{counts::HttpCounts, origins::Origins};
use identity::auth::{AuthError, Identity, Verifier, counts::Tokens};
use limits::Limits;
use model::{
    ids::SessionId,
    person::{Person, Side},
    scope::Scope,
    session::Session,
};
use peers::{NodeConnections, NodeTls};
use platform::tasks::Tasks;
use protocol::{
    Amend, Content,
    answers::{Changed, Sent},
    error::Error,
};

/// Settings of the gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Origins whose pages may use the API.
    pub cors_origins: Origins,
    /// Interval of pings to a client.
    pub ping_interval: Duration,
    /// Time limit for a client's answer to a ping.
    pub ping_timeout: Duration,
    /// Period over which a draining node spreads the closing of its sockets.
    pub drain_spread: Duration,
    /// Networks whose sampling decisions count.
    pub trusted_tracers: Vec<IpNet>,
    /// Servers of Redis, by which a node finds its own address. `None`: there are no other nodes.
    pub redis_hosts: Option<Vec<HostPort>>,
    /// Address at which other nodes reach this one, if the node cannot detect it.
    pub node_address: Option<SocketAddr>,
    /// Whether keys of tenants' issuers may come over http from another machine.
    pub plain_issuers: bool,
    /// Key of the platform API. Without one there is no such API.
    pub platform_key: Option<SecretString>,
}

/// Counters of the gateway.
#[derive(Debug)]
pub struct GatewayCounts {
    /// Connections and their frames.
    pub connections: Arc<ConnectionCounts>,
    /// Requests and their answers.
    pub http: HttpCounts,
    /// Searches.
    pub search: SearchCounts,
    /// Checked tokens.
    pub tokens: Tokens,
}

/// Parts of a gateway, made by lower floors.
pub struct GatewayParts {
    /// Settings.
    pub config: GatewayConfig,
    /// Counters.
    pub counts: GatewayCounts,
    /// Name of this node in logs and on the bus.
    pub node: String,
    /// The core.
    pub chat: Arc<Chat>,
    /// Verifier of tokens.
    pub verifier: Arc<Verifier>,
    /// Tables beside the core.
    pub database: Database,
    /// Limits of people and addresses.
    pub limits: Arc<Limits>,
    /// Addresses of the nodes.
    pub registry: Arc<dyn NodeRegistry>,
    /// Secret shared by the nodes.
    pub secret: Arc<ClusterSecret>,
    /// Certificates between the nodes.
    pub node_tls: NodeTls,
    /// Owner of the background tasks.
    pub tasks: Tasks,
}

/// The outside of chat on one node.
pub struct Gateway {
    /// Settings.
    pub config: GatewayConfig,
    /// Counters.
    pub counts: GatewayCounts,
    /// Name of this node in logs and on the bus.
    pub node: String,
    /// The core.
    pub chat: Arc<Chat>,
    verifier: Arc<Verifier>,
    /// Tables beside the core.
    pub database: Database,
    /// Limits of people and addresses.
    pub limits: Arc<Limits>,
    registry: Arc<dyn NodeRegistry>,
    /// Secret shared by the nodes, for signatures between them.
    secret: Arc<ClusterSecret>,
    /// Certificates between the nodes.
    pub node_tls: NodeTls,
    tasks: Tasks,
    /// Every open socket holds a receiver, so that a drain waits for all of them.
    pub sockets: watch::Sender<()>,
    /// Socket.IO connections of this node, by their Engine.IO session's id.
    engines: DashMap<String, Arc<EngineSession>>,
    /// Last known addresses of other nodes.
    peers: DashMap<String, NodeAddress>,
    /// Idle connections to other nodes.
    node_connections: NodeConnections,
    /// Requests that other nodes have carried here, against replays.
    carried: Replays,
    draining: watch::Sender<bool>,
}

impl Gateway {
    /// Starts nothing: connections and requests bring the work.
    pub fn new(parts: GatewayParts) -> Arc<Self> {
        let GatewayParts {
            config,
            counts,
            node,
            chat,
            verifier,
            database,
            limits,
            registry,
            secret,
            node_tls,
            tasks,
        } = parts;
        Arc::new(Self {
            config,
            counts,
            node,
            chat,
            verifier,
            database,
            limits,
            registry,
            secret,
            node_tls,
            tasks,
            sockets: watch::Sender::new(()),
            engines: DashMap::new(),
            peers: DashMap::new(),
            node_connections: NodeConnections::default(),
            carried: Replays::default(),
            draining: watch::Sender::new(false),
        })
    }

    /// Verifies a token and refuses people who are shut out. Every token is checked here.
    pub(crate) async fn identify(&self, token: &str) -> Result<Identity, AuthError> {
        let verified = self.verifier.verify(token).await;
        let admitted = verified
            .and_then(|identity| self.chat.admission.check(&identity.scope).map(|()| identity));
        self.counts.tokens.count(&admitted);
        admitted
    }

    /// Checks that a person may send or change a message now: not blocked since the request began, and within
    /// the rate limit.
    fn may_write(&self, person: &Person) -> Result<(), Error> {
        self.chat.still_admits(person)?;
        self.limits.send(person)
    }

    /// Sends a message within the limits. It is queued at once.
    pub(crate) fn send(
        &self,
        me: &Scope,
        session_id: SessionId,
        content: Content,
    ) -> impl Future<Output = Result<Sent, Error>> + Send + use<> {
        let sending = self.may_write(me).map(|()| self.chat.send(me, session_id, content));
        match sending {
            Ok(sending) => sending.left_future(),
            Err(error) => std::future::ready(Err(error)).right_future(),
        }
    }

    /// Notes into which this person writes a private message, within the limits: the send counts here.
    pub(crate) async fn notes_to_write(
        &self,
        me: &Scope,
        session_id: SessionId,
    ) -> Result<SessionId, Error> {
        self.may_write(me)?;
        self.chat.notes_id(me, session_id).await.map(|(notes, _)| notes)
    }

    /// Changes a message within the limits.
    pub(crate) async fn amend(&self, me: &Scope, amend: Amend) -> Result<Changed, Error> {
        self.may_write(me)?;
        self.chat.amend(me, amend).await
    }

    /// Opens a session within the limits, or finds the open one. Also returns whether it is new.
    pub(crate) async fn open(&self, me: &Scope, other: Person) -> Result<(Session, bool), Error> {
        if let Some(session) = self.chat.find_open(me, &other).await? {
            return Ok((session, false));
        }
        // The limit counts before any look-up: each refusal would reveal whether someone exists.
        self.limits.open(me)?;
        if me.side == Side::Contact {
            self.may_wait(me).await?;
        }
        self.chat.open(me, other).await
    }

    /// Whether this customer may open one more session without an answer. Dentists are not limited: many of
    /// their sessions need no answer, and they close finished ones.
    async fn may_wait(&self, me: &Scope) -> Result<(), Error> {
        let Some(limit) = self.limits.unanswered().map(NonZeroU32::get) else { return Ok(()) };
        if self.chat.unanswered(me, limit).await? < limit {
            return Ok(());
        }
        Err(self.limits.refuse_unanswered())
    }

    /// Whether the node is draining: it accepts no new sockets.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Begins the drain: [`Gateway::until_draining`] resolves.
    pub fn begin_draining(&self) {
        self.draining.send_replace(true);
    }

    /// Resolves when the node begins to drain.
    pub(crate) async fn until_draining(&self) {
        drop(self.draining.subscribe().wait_for(|draining| *draining).await);
    }
}
