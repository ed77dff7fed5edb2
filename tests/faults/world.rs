//! The servers and nodes of a run, each behind a relay that can break the connection.

use std::{net::SocketAddr, sync::Arc};

use frontdesk_test_support::{
    Clock, DJANGO_SECRET, Http, Issuer, NO_LIMITS, Node, OneSignal, PLATFORM_KEY, Person, Platform,
    Postgres, Practice, Redis, Relay, S3, SECRETS_KEY, Servers, eventually, unique,
};
use serde_json::json;
use tempfile::TempDir;
use tokio_postgres::types::Type;

use crate::history::Told;

/// Maximum of PostgreSQL connections: few, so that a fault can take them all.
const CONNECTIONS: usize = 60;

/// Everything that can break.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    /// Relays from the clients to the nodes.
    pub(crate) fronts: Vec<Relay>,
    pub(crate) postgres: Postgres,
    pub(crate) to_postgres: Relay,
    /// The Redis that the nodes use, and its replica.
    pub(crate) redis: [Redis; 2],
    pub(crate) to_redis: Relay,
    pub(crate) to_mysql: Relay,
    pub(crate) to_s3: Relay,
    pub(crate) onesignal: OneSignal,
    /// Clock of the first node.
    pub(crate) clock: Clock,
    issuer: Issuer,
    /// A second tenant. `None` beside nodes of an earlier version, which know no tenants.
    practice: Option<Practice>,
    _s3: S3,
    _files: TempDir,
}

impl World {
    /// Starts everything, with this many nodes, which run the binaries in turn.
    pub(crate) async fn start(binaries: &[String], nodes: usize) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (issuer, onesignal, s3) =
            tokio::join!(Issuer::start(), OneSignal::start(), S3::start());
        let postgres = Postgres::start(CONNECTIONS).await;
        let redis = Redis::start().await;
        let replica = follower(&redis).await;
        let s3_env: Vec<(String, String)> = s3.env().iter().copied().map(owned).collect();
        let s3_port = s3_env.iter().find(|(name, _)| name == "S3_ENDPOINT").unwrap();
        let s3_port = s3_port.1.rsplit_once(':').unwrap().1.parse().unwrap();
        let legacy = Servers::get().await.mysql_database();
        let (to_postgres, to_redis, to_mysql, to_s3) = tokio::join!(
            Relay::start(postgres.port),
            Relay::start(redis.port),
            Relay::start(legacy.port),
            Relay::start(s3_port),
        );
        let mut env = environment(&issuer.url, files.path().to_str().unwrap());
        let mysql_port = to_mysql.port.to_string();
        let ports = [("POSTGRES_PORT", to_postgres.port), ("REDIS_PORT", to_redis.port)];
        let given = legacy.variables(&mysql_port);
        env.extend(given.iter().chain(&onesignal.variables()).copied().map(owned));
        env.extend(ports.map(|(name, port)| owned((name, &port.to_string()))));
        env.extend(s3_env);
        env.extend(NO_LIMITS.map(owned));
        env.push(owned(("S3_ENDPOINT", &format!("http://127.0.0.1:{}", to_s3.port))));
        let clock = Clock::new();
        let mut started = Vec::new();
        for at in 0..nodes {
            let mut env = env.clone();
            if at == 0 {
                env.extend(clock.variables().map(|(name, value)| (name.to_owned(), value)));
            }
            started.push(Node::start(&binaries[at % binaries.len()], &env).await);
        }
        let practice = match binaries {
            [_] => Some(Practice::open(&Platform::of(&started[0]), "A second tenant").await),
            _ => None,
        };
        for node in &started {
            if let Some(practice) = &practice {
                practice.known(node).await;
            }
        }
        let mut fronts = Vec::new();
        for node in &started {
            fronts.push(Relay::start(node.address.port()).await);
        }
        Self {
            nodes: started,
            fronts,
            postgres,
            to_postgres,
            redis: [redis, replica],
            to_redis,
            to_mysql,
            to_s3,
            onesignal,
            clock,
            issuer,
            practice,
            _s3: s3,
            _files: files,
        }
    }

    /// Addresses of the nodes for clients.
    pub(crate) fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        let addresses = self.fronts.iter().map(|front| ([127, 0, 0, 1], front.port).into());
        Arc::new(addresses.collect())
    }

    /// A new customer in the directory.
    pub(crate) async fn customer(&self) -> Person {
        let id = unique("sub");
        let insert = format!("insert into customers values ('{id}', 'Pat', 'Ient', null, null)");
        Servers::get().await.mysql_database().execute(&insert).await;
        Person { kind: "customer", token: self.issuer.customer(&id), id }
    }

    /// A new dentist in the directory.
    pub(crate) async fn dentist(&self, number: u64) -> Person {
        let id = (uuid::Uuid::now_v7().as_u128() >> 64) as u64 / 65_536 * 100 + number;
        let insert = format!("insert into dentists values ({id}, 'Den', 'Tist', null, null)");
        Servers::get().await.mysql_database().execute(&insert).await;
        let id = id.to_string();
        Person { kind: "dentist", token: Issuer::dentist(&id), id }
    }

    /// The customer and the dentist of the second tenant with the ids of these two, unless there is no such
    /// tenant.
    pub(crate) fn twins(&self, customer: &Person, dentist: &Person) -> Option<[Person; 2]> {
        let practice = self.practice.as_ref()?;
        Some([practice.customer(&customer.id), practice.dentist(&dentist.id)])
    }

    /// Opens a session between the two and returns its id.
    pub(crate) async fn session(&self, customer: &Person, dentist: &Person) -> String {
        let http = Http::new(self.nodes[0].address, Some(&customer.token));
        let opened = http.post("/api/chats", &json!({ "dentistId": dentist.id })).await;
        opened.expect(201)["id"].as_str().unwrap().to_owned()
    }

    /// Messages of a session in the database, by `seq`.
    pub(crate) async fn stored(&self, session: &str) -> Vec<Told> {
        let database = self.postgres.database().client().await;
        // A row without text has a placeholder as its body.
        let rows = "select seq, id::text, client_id, case when bodiless then '' else body end, \
                    coalesce(rev, 0) \
                    from messages where session_id = $1::text::uuid order by seq";
        let rows = database.prepare_typed(rows, &[Type::TEXT]).await.unwrap();
        let rows = database.query(&rows, &[&session]).await.unwrap();
        let told = |row: &tokio_postgres::Row| Told {
            session: session.to_owned(),
            seq: row.get::<_, i64>(0).try_into().unwrap(),
            id: row.get(1),
            key: row.get(2),
            body: row.get(3),
            rev: row.get::<_, i64>(4).try_into().unwrap(),
        };
        rows.iter().map(told).collect()
    }

    /// Waits until a node is ready.
    pub(crate) async fn ready(&self, node: usize) {
        let http = Http::new(self.nodes[node].address, None);
        eventually("a node is ready", async || http.get("/health/ready").await.status == 200).await;
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Variables of every node, without the ports of the servers.
fn environment(issuer: &str, data_dir: &str) -> Vec<(String, String)> {
    [
        ("DATA_DIR", data_dir),
        ("COGNITO_ISSUER", issuer),
        ("DJANGO_JWT_SECRET", DJANGO_SECRET),
        ("PLATFORM_API_KEY", PLATFORM_KEY),
        ("SECRETS_KEY", SECRETS_KEY),
        ("DRAIN_SPREAD_MS", "500"),
        ("PING_INTERVAL_MS", "2000"),
        ("PING_TIMEOUT_MS", "2000"),
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_DB", "postgres"),
        ("POSTGRES_USER", "postgres"),
        ("POSTGRES_POOL_SIZE", "10"),
        ("REDIS_HOST", "127.0.0.1"),
    ]
    .map(owned)
    .into()
}

/// A new replica of a Redis.
pub(crate) async fn follower(of: &Redis) -> Redis {
    let port = of.port.to_string();
    Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await
}
