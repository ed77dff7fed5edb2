//! The whole product on one node: each crate's part is made here, from the ground up.

use std::{sync::Arc, time::Instant};

#[cfg(not(feature = "embedded"))]
use anyhow::Context as _;

#[cfg(feature = "embedded")]
use crate::embedded::{self, Embedded, issuer, s3};
use crate::{config::Config, findings::Findings, metrics::Metrics};
use bus::{Bus, BusEvents, cluster::ClusterSecret, one_node::OneNode, redis::Redis};
use chat::{
    Chat, ChatParts,
    housekeeping::{self, Housekeeping},
    pushes::PushTable,
    recount, snoozes,
    store::{Store, postgres::Postgres, unread::UnreadTable},
};
use db::{
    Database,
    counts::DatabaseCounts,
    jobs::{JobTable, Runner},
    server::Server,
};
use gateway::{Gateway, GatewayParts, limits::Limits, peers::NodeTls};
use identity::{auth::Verifier, directory};
use integrations::push::{self, PushParts};
use media::{Images, bucket::Bucket};
use platform::{
    jobs::{JobsDue, Module},
    new_id,
    tasks::Tasks,
};

/// The modules of one node, and what they share.
pub(crate) struct Modules {
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
    pub(crate) database: Arc<dyn Server>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) chat: Arc<Chat>,
    pub(crate) jobs: Runner,
    pub(crate) gateway: Arc<Gateway>,
    /// Last result of the `/health` checks, kept for a second.
    pub(crate) findings: Findings,
    pub(crate) started: Instant,
    #[cfg(feature = "embedded")]
    pub(crate) embedded: Arc<Embedded>,
}

impl Modules {
    /// Connects to all services, and starts their background tasks.
    pub(crate) async fn open(
        #[cfg_attr(not(feature = "embedded"), expect(unused_mut))] mut config: Config,
        #[cfg_attr(not(feature = "embedded"), expect(unused_variables))] port: u16,
    ) -> anyhow::Result<Arc<Self>> {
        #[cfg(feature = "embedded")]
        let issuer = issuer::stand_in(&mut config, port)?;
        let metrics = Metrics::new(&config.metrics_tenants);
        let tasks = Tasks::new(metrics.tasks.clone());
        metrics.start(&tasks);
        let key_sets = [metrics.cognito.clone(), metrics.django.clone()];
        let verifier = Arc::new(Verifier::new(&config.tokens, key_sets, &tasks)?);
        let (store, database) = open_store(&config, &metrics).await?;
        let node = new_id().simple().to_string().split_off(20);
        let secret = Arc::new(ClusterSecret::new(&config.cluster, &node, metrics.distrust.clone()));
        let (bus, events) = open_bus(&config, &secret, &metrics, &tasks).await?;
        #[cfg(feature = "embedded")]
        let (bucket, images) = open_bucket(&config)?;
        #[cfg(not(feature = "embedded"))]
        let bucket = open_bucket(&config)?;
        let due = JobsDue::default();
        let chat = Chat::start(ChatParts {
            tasks: tasks.clone(),
            store,
            database: database.clone(),
            bus: Arc::clone(&bus),
            events,
            verifier: Arc::clone(&verifier),
            sealing: Arc::clone(&config.sealing),
            directory: directory::open(config.mysql.as_ref(), &config.data_dir)?,
            directory_cache: config.directory_cache,
            images: Arc::new(Images::start(bucket, &tasks)),
            outbound_memory: config.outbound_memory,
            due: due.clone(),
            counts: metrics.of_chat(),
        })
        .await?;
        let quotas = config.redis.is_some().then(|| Arc::clone(&bus) as _);
        let gateway = Gateway::new(GatewayParts {
            config: config.gateway(),
            counts: metrics.of_gateway(),
            node,
            chat: Arc::clone(&chat),
            verifier,
            database: database.clone(),
            limits: Limits::start(&tasks, &config.limits, quotas, metrics.refusals.clone()),
            registry: Arc::clone(&bus) as _,
            secret,
            node_tls: NodeTls::open(&config.node_tls)?,
            tasks: tasks.clone(),
        });
        let jobs = Runner {
            table: JobTable(database.clone()),
            due,
            tasks: tasks.clone(),
            counts: metrics.jobs.clone(),
        };
        let modules = Self {
            metrics,
            tasks,
            database: database.server(),
            bus,
            chat,
            jobs,
            gateway,
            findings: Findings::new(),
            started: Instant::now(),
            #[cfg(feature = "embedded")]
            embedded: Arc::new(Embedded { images, issuer, development: config.development }),
            config,
        };
        Ok(Arc::new(modules))
    }

    /// Starts the workers of all domains: a line for each.
    pub(crate) fn start_jobs(&self) -> anyhow::Result<()> {
        let recount = recount::module(UnreadTable(self.jobs.table.0.clone()));
        let snoozes = snoozes::module(self.jobs.table.0.clone(), Arc::clone(&self.chat.inbox));
        let mut domains = vec![self.housekeeping(), recount, snoozes];
        domains.extend(self.pushes().transpose()?);
        db::jobs::start(&self.jobs, domains)
    }

    fn housekeeping(&self) -> Module {
        housekeeping::module(Housekeeping {
            retention: self.chat.store.clone(),
            edits_kept: self.config.edits_retention,
            pushes: PushTable(self.jobs.table.0.clone()),
        })
    }

    fn pushes(&self) -> Option<anyhow::Result<Module>> {
        let config = self.config.pushes.clone()?;
        Some(push::module(PushParts {
            config,
            table: PushTable(self.jobs.table.0.clone()),
            control: Arc::clone(&self.bus) as _,
            admission: self.chat.admission.clone(),
            presence: Arc::clone(&self.chat.presence),
            counts: self.metrics.pushes.clone(),
            life_timeout: self.config.ping_interval + self.config.ping_timeout,
        }))
    }
}

#[cfg(not(feature = "embedded"))]
pub(crate) fn no_database() -> platform::variables::ConfigError {
    let problem = "is not set, and this build has no embedded database";
    platform::variables::ConfigError::new("POSTGRES_HOST", problem)
}

async fn open_store(
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<(Arc<dyn Store>, Database)> {
    let push_delay = config.pushes.as_ref().map(|pushes| pushes.delay);
    match &config.postgres {
        Some(postgres) => {
            let counts = metrics.database.clone();
            let store = Postgres::open(postgres, &config.search_language, counts).await?;
            let database = Database::Postgres(Arc::clone(&store.db));
            let durability = store.db.durability();
            durability.map_or(Ok(()), |durability| config.admit_database(&durability))?;
            Ok((Arc::new(store.with_pushes(push_delay)), database))
        }
        #[cfg(feature = "embedded")]
        None => {
            let store = embedded::database(&config.data_dir)?;
            let database = Database::Sqlite(Arc::clone(&store.db));
            Ok((Arc::new(store.with_pushes(push_delay)), database))
        }
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

/// The bucket, and the server of it in this process if none is configured.
#[cfg(feature = "embedded")]
fn open_bucket(config: &Config) -> anyhow::Result<(Bucket, Option<s3::Server>)> {
    if let Some(s3) = &config.s3 {
        return Ok((Bucket::open(s3), None));
    }
    let server = s3::Server::open(&config.data_dir)?;
    Ok((server.bucket(), Some(server)))
}

#[cfg(not(feature = "embedded"))]
fn open_bucket(config: &Config) -> anyhow::Result<Bucket> {
    let problem = "S3_BUCKET: is not set, and this build has no embedded storage";
    Ok(Bucket::open(config.s3.as_ref().context(problem)?))
}

/// The database alone, for commands that need no node.
pub(crate) async fn open_database(config: &Config) -> anyhow::Result<Database> {
    match &config.postgres {
        Some(postgres) => {
            let counts = DatabaseCounts::default();
            let store = Postgres::open(postgres, &config.search_language, counts).await?;
            Ok(Database::Postgres(store.db))
        }
        #[cfg(feature = "embedded")]
        None => Ok(Database::Sqlite(embedded::database(&config.data_dir)?.db)),
        #[cfg(not(feature = "embedded"))]
        None => Err(no_database().into()),
    }
}
