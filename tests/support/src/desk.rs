//! A complete deployment: an issuer, nodes and users.

use serde_json::json;
use tempfile::TempDir;

use crate::{
    Client, DJANGO_SECRET, Framing, Http, Issuer, Node, PostgresDatabase, Servers, unique,
};

/// Variables without limits, because a test does in a second from one address what users do in a
/// day.
pub const NO_LIMITS: [(&str, &str); 6] = [
    ("LIMIT_SENDS_PER_USER_S", "0"),
    ("LIMIT_CONNECTIONS_PER_USER", "0"),
    ("LIMIT_CONNECTIONS_PER_ADDRESS", "0"),
    ("LIMIT_REQUESTS_PER_ADDRESS_S", "0"),
    ("LIMIT_OPENS_PER_USER", "0"),
    ("LIMIT_UNANSWERED_PER_USER", "0"),
];

/// Nodes that share a database and a bus, or one embedded node.
#[derive(Debug)]
pub struct Desk {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Issuer of the customers' tokens.
    pub issuer: Issuer,
    /// The PostgreSQL database; `None` for an embedded node.
    pub database: Option<PostgresDatabase>,
    /// Data directory of an embedded node.
    pub data: TempDir,
    http: Http,
}

/// A user with a token.
#[derive(Clone, Debug)]
pub struct Person {
    /// `customer` or `dentist`.
    pub kind: &'static str,
    /// The id in the token.
    pub id: String,
    /// The token.
    pub token: String,
}

impl Desk {
    /// One node with the embedded database.
    pub async fn embedded(binary: &str) -> Self {
        Self::embedded_with(binary, &[]).await
    }

    /// One node with the embedded database and additional variables.
    pub async fn embedded_with(binary: &str, env: &[(&str, &str)]) -> Self {
        let (issuer, data) = (Issuer::start().await, tempfile::tempdir().unwrap());
        let env = environment(&issuer, data.path().to_str().unwrap(), env);
        let nodes = vec![Node::start(binary, &env).await];
        let http = Http::new(nodes[0].address, None);
        Self { nodes, issuer, database: None, data, http }
    }

    /// Nodes on a new PostgreSQL database and the Redis that all tests share.
    pub async fn cluster(binary: &str, nodes: usize) -> Self {
        let redis_port = Servers::get().await.redis_port;
        Self::cluster_with(binary, nodes, redis_port, &[]).await
    }

    /// Nodes on a new PostgreSQL database and the given Redis, with additional variables.
    pub async fn cluster_with(
        binary: &str,
        nodes: usize,
        redis_port: u16,
        env: &[(&str, &str)],
    ) -> Self {
        let database = Servers::get().await.postgres_database().await;
        let (issuer, data) = (Issuer::start().await, tempfile::tempdir().unwrap());
        let (postgres_port, redis_port) = (database.port.to_string(), redis_port.to_string());
        let mut all = vec![
            ("POSTGRES_HOST", "127.0.0.1"),
            ("POSTGRES_PORT", &postgres_port),
            ("POSTGRES_DB", &database.name),
            ("POSTGRES_USER", "postgres"),
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", &redis_port),
        ];
        all.extend(env);
        let env = environment(&issuer, data.path().to_str().unwrap(), &all);
        // The nodes start at the same time, as in a deployment, and must agree on the migrations.
        let starting = (0..nodes).map(|_| Node::start(binary, &env));
        let nodes = futures_util::future::join_all(starting).await;
        let http = Http::new(nodes[0].address, None);
        Self { nodes, issuer, database: Some(database), data, http }
    }

    /// A customer with a new id.
    #[must_use]
    pub fn customer(&self) -> Person {
        let id = unique("patient");
        Person { kind: "customer", token: self.issuer.customer(&id), id }
    }

    /// A dentist with a new id.
    #[must_use]
    pub fn dentist(&self) -> Person {
        let id = unique("dentist");
        Person { kind: "dentist", token: Issuer::dentist(&id), id }
    }

    /// An admin with a new id.
    #[must_use]
    pub fn admin(&self) -> Person {
        let id = unique("admin");
        let mut claims = Issuer::dentist_claims(&id);
        claims["role"] = "admin".into();
        let token = Issuer::sign_with_secret(&claims, DJANGO_SECRET.as_bytes());
        Person { kind: "dentist", token, id }
    }

    /// HTTP API of a node for a user.
    #[must_use]
    pub fn http(&self, node: usize, person: &Person) -> Http {
        self.http.to(self.nodes[node].address, &person.token)
    }

    /// Opens a connection to a node for a user.
    pub async fn connect(&self, node: usize, person: &Person) -> Client {
        Client::connect(self.nodes[node].address, &person.token).await
    }

    /// Like [`Desk::connect`], in either framing.
    pub async fn connect_by(&self, framing: Framing, node: usize, person: &Person) -> Client {
        Client::connect_by(framing, self.nodes[node].address, &person.token).await
    }

    /// Checks every node after bad input ([`Node::is_unharmed`]); the people's tokens count as
    /// private texts.
    pub async fn is_unharmed(self, people: &[&Person], private: &[&str]) {
        let tokens = people.iter().map(|person| person.token.as_str());
        let private: Vec<&str> = tokens.chain(private.iter().copied()).collect();
        for node in self.nodes {
            node.is_unharmed(&private).await;
        }
    }

    /// Opens a session between the two and returns its id.
    pub async fn session(&self, customer: &Person, dentist: &Person) -> String {
        let with = json!({ "dentistId": dentist.id });
        let opened = self.http(0, customer).post("/api/chats", &with).await;
        opened.expect(201)["id"].as_str().unwrap().to_owned()
    }

    /// Two new people and the session between them.
    pub async fn pair(&self) -> (Person, Person, String) {
        let (customer, dentist) = (self.customer(), self.dentist());
        let session = self.session(&customer, &dentist).await;
        (customer, dentist, session)
    }

    /// Two people who have written to each other, so that each sees the other's presence, and their
    /// session.
    pub async fn acquaintances(&self) -> (Person, Person, String) {
        let (customer, dentist, session) = self.pair().await;
        for person in [&customer, &dentist] {
            self.greet(person, &session).await;
        }
        (customer, dentist, session)
    }

    /// Sends a message of this person by HTTP.
    pub async fn greet(&self, person: &Person, session: &str) {
        let post = json!({ "clientId": unique("greeting"), "kind": "text", "body": "Hello" });
        let path = format!("/api/chats/{session}/messages");
        self.http(0, person).post(&path, &post).await.expect(201);
    }
}

fn environment(issuer: &Issuer, data_dir: &str, env: &[(&str, &str)]) -> Vec<(String, String)> {
    let common = [
        ("DATA_DIR", data_dir),
        ("COGNITO_ISSUER", &issuer.url),
        ("DJANGO_JWT_SECRET", DJANGO_SECRET),
        ("DRAIN_SPREAD_MS", "300"),
    ];
    let all = common.iter().chain(&NO_LIMITS).chain(env);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
