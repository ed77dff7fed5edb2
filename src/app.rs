//! Shared handles for request handlers.

use std::{sync::Arc, time::Instant};

use dashmap::DashMap;
use tokio::sync::watch;

use crate::{
    auth::{AuthError, Identity, Verifier},
    blocks::Blocks,
    bus::{Bus, BusEvents, NodeAddress, PubSub, one_node::OneNode, redis::Redis},
    cluster::{ClusterSecret, Replays},
    config::Config,
    connection::engineio::EngineSession,
    directory::{self, people::People},
    error::Error,
    http::health::Findings,
    hub::Hub,
    images::Images,
    inbox::Inbox,
    limits::{Limits, reads::Reads},
    memory::Memory,
    metrics::Metrics,
    peers::{NodeConnections, NodeTls},
    person::Person,
    platform::tasks::Tasks,
    presence::Presence,
    receipts::Receipts,
    store::{Store, postgres::Postgres, server::Server, writer::Writer},
    wire::new_id,
};

/// All parts of one node.
pub(crate) struct App {
    pub(crate) config: Config,
    verifier: Verifier,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: Writer,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) receipts: Arc<Receipts>,
    pub(crate) people: Arc<People>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) images: Images,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
    pub(crate) limits: Arc<Limits>,
    /// Memory budget for data that waits for readers.
    pub(crate) memory: Arc<Memory>,
    /// Last result of the `/health` checks, kept for a second.
    pub(crate) findings: Findings,
    /// Name of this node in logs and in `/health`.
    pub(crate) node: String,
    pub(crate) started: Instant,
    /// Permits for costly reads.
    pub(crate) reads: Reads,
    /// Every open socket holds a receiver, so that a drain waits for all of them.
    pub(crate) sockets: watch::Sender<()>,
    /// Socket.IO connections of this node, by their Engine.IO session's id.
    pub(crate) engines: DashMap<String, Arc<EngineSession>>,
    /// Last known addresses of other nodes.
    pub(crate) peers: DashMap<String, NodeAddress>,
    /// Idle connections to other nodes.
    pub(crate) node_connections: NodeConnections,
    /// Secret shared by the nodes, for signatures between them.
    pub(crate) secret: Arc<ClusterSecret>,
    pub(crate) node_tls: NodeTls,
    /// Requests that other nodes have carried here, against replays.
    pub(crate) carried: Replays,
    draining: watch::Sender<bool>,
    #[cfg(feature = "embedded")]
    pub(crate) issuer: Option<crate::embedded::issuer::Issuer>,
}

impl App {
    /// Connects to all services, and starts their background tasks.
    pub(crate) async fn open(
        #[cfg_attr(not(feature = "embedded"), expect(unused_mut))] mut config: Config,
        #[cfg_attr(not(feature = "embedded"), expect(unused_variables))] port: u16,
    ) -> anyhow::Result<Arc<Self>> {
        #[cfg(feature = "embedded")]
        let issuer = crate::embedded::issuer::stand_in(&mut config, port)?;
        let metrics = Metrics::new();
        let tasks = Tasks::new(metrics.tasks.clone());
        metrics.start(&tasks);
        let key_sets = [metrics.cognito.clone(), metrics.django.clone()];
        let verifier = Verifier::new(&config.tokens, key_sets, &tasks)?;
        let store = open_store(&config, &metrics).await?;
        let node = new_id().simple().to_string().split_off(20);
        let secret = Arc::new(ClusterSecret::new(&config.cluster, &node, metrics.distrust.clone()));
        let (bus, events) = open_bus(&config, &secret, &metrics, &tasks).await?;
        let pubsub: Arc<dyn PubSub> = Arc::clone(&bus) as _;
        let hub = {
            let counts = metrics.hub.clone();
            Hub::start(&tasks, Arc::clone(&pubsub), events, Arc::clone(&store), counts)
        };
        let blocks =
            Blocks::start(&tasks, store.clone(), Arc::clone(&bus) as _, Arc::clone(&hub)).await?;
        let inbox = Inbox::start(&tasks, store.clone(), Arc::clone(&pubsub));
        let receipts =
            Receipts::start(&tasks, store.clone(), Arc::clone(&pubsub), Arc::clone(&inbox));
        let counts = metrics.writer.clone();
        let writer = Writer::start(&tasks, store.clone(), pubsub, Arc::clone(&inbox), counts);
        let presence =
            Presence::start(&tasks, Arc::clone(&bus) as _, Arc::clone(&store), Arc::clone(&hub));
        let quotas = config.redis.is_some().then(|| Arc::clone(&bus) as _);
        let limits = Limits::start(&tasks, &config.limits, quotas, metrics.refusals.clone());
        let memory = Memory::start(&tasks, config.outbound_memory, metrics.memory.clone());
        let (directory, counts) =
            (directory::open(config.mysql.as_ref(), &config.data_dir)?, metrics.directory.clone());
        let lifetime = config.directory_cache;
        let people = People::start(&tasks, directory, store.clone(), lifetime, counts);
        let app = Self {
            verifier,
            blocks,
            store,
            writer,
            bus,
            hub,
            inbox,
            receipts,
            people,
            node,
            presence,
            images: Images::open(config.s3.as_ref(), &config.data_dir, &tasks)?,
            reads: Reads::new(metrics.reads.clone()),
            metrics,
            tasks,
            limits,
            memory,
            findings: Findings::new(),
            started: Instant::now(),
            sockets: watch::Sender::new(()),
            engines: DashMap::new(),
            peers: DashMap::new(),
            node_connections: NodeConnections::default(),
            secret,
            node_tls: NodeTls::open(&config.node_tls)?,
            carried: Replays::default(),
            draining: watch::Sender::new(false),
            #[cfg(feature = "embedded")]
            issuer,
            config,
        };
        Ok(Arc::new(app))
    }

    /// Verifies a token and refuses blocked people. Every token is checked here.
    pub(crate) async fn identify(&self, token: &str) -> Result<Identity, AuthError> {
        let verified = self.verifier.verify(token).await;
        let admitted = verified.and_then(|identity| {
            let blocked = self.blocks.is_blocked(&identity.person);
            if blocked { Err(AuthError::Blocked) } else { Ok(identity) }
        });
        self.metrics.auth.count(&admitted);
        admitted
    }

    /// Checks that a person may send or change a message now: not blocked since the request began, and within
    /// the rate limit.
    pub(crate) fn may_write(&self, person: &Person) -> Result<(), Error> {
        self.still_admits(person)?;
        self.limits.send(person)
    }

    /// Checks that an admitted person has not been blocked since.
    pub(crate) fn still_admits(&self, person: &Person) -> Result<(), Error> {
        if self.blocks.is_blocked(person) { Err(Error::Blocked) } else { Ok(()) }
    }

    /// Whether the node is draining: it accepts no new sockets.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    pub(crate) fn begin_draining(&self) {
        self.draining.send_replace(true);
    }

    /// Resolves when the node begins to drain.
    pub(crate) async fn until_draining(&self) {
        drop(self.draining.subscribe().wait_for(|draining| *draining).await);
    }
}

#[cfg(not(feature = "embedded"))]
pub(crate) fn no_database() -> crate::platform::variables::ConfigError {
    let problem = "is not set, and this build has no embedded database";
    crate::platform::variables::ConfigError::new("POSTGRES_HOST", problem)
}

async fn open_store(config: &Config, metrics: &Metrics) -> anyhow::Result<Arc<dyn Store>> {
    let push_delay = config.pushes.as_ref().map(|pushes| pushes.delay);
    match &config.postgres {
        Some(postgres) => {
            let store = Postgres::open(postgres, &config.search_language).await?;
            store.durability().map_or(Ok(()), |durability| config.admit_database(&durability))?;
            let store = store.with_counts(metrics.database.clone());
            Ok(Arc::new(store.with_pushes(push_delay)))
        }
        #[cfg(feature = "embedded")]
        None => Ok(Arc::new(crate::embedded::database(&config.data_dir)?.with_pushes(push_delay))),
        #[cfg(not(feature = "embedded"))]
        None => Err(no_database().into()),
    }
}

async fn open_bus(
    config: &Config,
    secret: &Arc<ClusterSecret>,
    metrics: &Metrics,
    tasks: &Tasks,
) -> anyhow::Result<(Arc<dyn Bus>, BusEvents)> {
    if let Some(redis) = &config.redis {
        let counts = metrics.bus.clone();
        let (bus, events) = Redis::open(redis, Arc::clone(secret), counts, tasks).await?;
        return Ok((Arc::new(bus), events));
    }
    let (bus, events) = OneNode::open(metrics.bus.clone());
    Ok((Arc::new(bus), events))
}
