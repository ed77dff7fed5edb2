//! The tools of operators: a real Prometheus that scrapes the nodes, the dashboard, and the alerts.

mod shipped;

use std::{collections::BTreeMap, time::Duration};

use frontdesk_test_support::{
    Client, Dashboard, Desk, Issuer, PATIENCE, Person, Prometheus, Redis, Relay, S3, Servers, Way,
    signal,
};
use image::ImageFormat;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    FRONTDESK,
    pictures::{picture, uploaded},
};

/// Interval of rates, with one scrape a second.
const INTERVAL: &str = "6s";

/// Two nodes with every service, each behind a relay that can be slowed down.
struct World {
    desk: Desk,
    prometheus: Prometheus,
    dashboard: Dashboard,
    postgres: Relay,
    redis: Relay,
    s3: Relay,
    talk: Talk,
    /// Servers that run as long as this value.
    #[expect(dead_code, reason = "they are held")]
    servers: (Redis, S3),
}

/// A conversation between two nodes.
struct Talk {
    session: String,
    customer: Client,
    dentist: Client,
    people: (Person, Person),
    sent: u64,
}

impl World {
    async fn new() -> Self {
        let (servers, own_redis, own_s3) =
            (Servers::get().await, Redis::start().await, S3::start().await);
        let postgres = Relay::start(servers.postgres_port).await;
        let redis = Relay::start(own_redis.port).await;
        let s3 = Relay::start(own_s3.port.parse().unwrap()).await;
        let (port, mysql_port) = (postgres.port.to_string(), servers.mysql_port.to_string());
        let (mysql, endpoint) = (servers.mysql_database(), format!("http://127.0.0.1:{}", s3.port));
        let mut env = vec![("POSTGRES_PORT", port.as_str())];
        env.extend(mysql.variables(&mysql_port));
        env.extend(own_s3.env());
        env.extend([("S3_ENDPOINT", endpoint.as_str()), ("METRICS_TENANTS", "1")]);
        let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &env).await;
        let addresses: Vec<_> = desk.nodes.iter().map(|node| node.address).collect();
        let talk = Talk::begin(&desk).await;
        let prometheus = Prometheus::start(&addresses).await;
        let (dashboard, own) = (Dashboard::new(), (own_redis, own_s3));
        Self { desk, prometheus, dashboard, postgres, redis, s3, talk, servers: own }
    }

    /// Legend and value of each series that a panel of the dashboard shows now.
    async fn shows(&self, title: &str) -> BTreeMap<String, f64> {
        let mut shown = BTreeMap::new();
        for (expression, legend) in self.dashboard.panel(title, INTERVAL) {
            for (labels, value) in self.prometheus.query(&expression).await.unwrap() {
                let name = labels.iter().fold(legend.clone(), |name, (label, value)| {
                    name.replace(&format!("{{{{{label}}}}}"), value)
                });
                shown.insert(name, value);
            }
        }
        shown
    }

    /// Sends messages until the dashboard names this reason, and this stage as the slowest if there is
    /// one.
    async fn names(&mut self, reason: &str, stage: Option<&str>) {
        let deadline = Instant::now() + PATIENCE * 2;
        loop {
            self.talk.say().await;
            let reasons = self.shows("The reason").await;
            let slowest = self.shows("The slowest stage").await;
            let is_slowest = stage.is_none_or(|stage| slowest.contains_key(stage));
            if is_slowest && reasons.contains_key(reason) {
                return;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "{reason} ({stage:?}) is not named: {reasons:?}, {slowest:?}");
        }
    }

    /// Sends messages until the dashboard no longer names this reason.
    async fn forgets(&mut self, reason: &str) {
        let deadline = Instant::now() + PATIENCE * 2;
        while self.shows("The reason").await.contains_key(reason) {
            self.talk.say().await;
            assert!(Instant::now() < deadline, "{reason} is named for ever");
        }
    }

    async fn text(&self, node: usize) -> String {
        self.desk.http(node, &self.talk.people.0).get("/metrics").await.text
    }
}

impl Talk {
    async fn begin(desk: &Desk) -> Self {
        // People in the legacy directory.
        let (customer, dentist) = ("sub-ada".to_owned(), "7".to_owned());
        let token = desk.issuer.customer(&customer);
        let customer = Person { kind: "customer", token, id: customer };
        let dentist = Person { kind: "dentist", token: Issuer::dentist(&dentist), id: dentist };
        let session = desk.session(&customer, &dentist).await;
        let people = (customer, dentist);
        let mut customer = desk.connect(0, &people.0).await;
        let mut dentist = desk.connect(1, &people.1).await;
        customer.join(&session, None).await;
        dentist.join(&session, None).await;
        Self { session, customer, dentist, people, sent: 0 }
    }

    /// Sends a message and waits for its delivery.
    async fn say(&mut self) {
        self.say_as_much("it hurts").await;
        // A pause, as between people, which also leaves time for other tests.
        sleep(Duration::from_millis(150)).await;
    }

    async fn say_as_much(&mut self, body: &str) {
        self.sent += 1;
        let sent = self.customer.send(&self.session, &self.sent.to_string(), body).await;
        assert_eq!(self.dentist.message().await["seq"], sent["seq"]);
    }
}

#[tokio::test]
async fn every_panel_and_every_alert_asks_for_what_the_nodes_tell() {
    let mut world = World::new().await;
    // A second device of the sender.
    let mut device = world.desk.connect(0, &world.talk.people.0).await;
    device.join(&world.talk.session, None).await;
    let http = world.desk.http(0, &world.talk.people.0);
    http.get("/api/chats").await.expect(200);
    // Rates need more than two scrapes.
    let deadline = Instant::now() + PATIENCE;
    loop {
        world.talk.say().await;
        let paths = world.shows("Delivery by path").await;
        let stages = world.shows("Stages, 99th percentile").await;
        let is_measured = |shown: &BTreeMap<String, f64>, name: &str| {
            shown.get(name).is_some_and(|secs| *secs > 0.0)
        };
        if ["same_node", "other_node"].iter().all(|path| is_measured(&paths, path)) {
            let all = ["writer_queue", "commit", "bus", "hub", "outbound_queue"];
            assert!(all.iter().all(|stage| is_measured(&stages, stage)), "{stages:?}");
            break;
        }
        assert!(Instant::now() < deadline, "the dashboard shows no delivery times: {paths:?}");
    }
    let told = [world.text(0).await, world.text(1).await];
    let mut asked = world.prometheus.rules().await;
    assert!(asked.len() >= 25, "{asked:?}");
    for panel in world.dashboard.panels() {
        let expressions = Dashboard::asked(panel, INTERVAL).into_iter().map(|(asked, _)| asked);
        asked.extend(expressions.map(|asked| (panel["title"].to_string(), asked)));
    }
    assert!(asked.len() >= 100, "{}", asked.len());
    for (title, expression) in &asked {
        let outcome = world.prometheus.query(expression).await;
        assert!(outcome.is_ok(), "{title}: {expression}: {outcome:?}");
        let metrics = shipped::metrics_in(expression);
        assert!(!metrics.is_empty() || expression.starts_with("up{"), "{title}: {expression}");
        for metric in metrics {
            let names = |line: &str| {
                line.strip_prefix(&metric).is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            let is_told = told.iter().all(|text| text.lines().any(names));
            assert!(is_told, "{title}: there is no {metric}");
        }
    }
    for text in &told {
        shipped::is_in_order(text).await;
    }
    // Both nodes and their services are shown.
    assert!(world.shows("Services").await.values().all(|up| *up > 0.5));
    assert_eq!(world.shows("Services").await.len(), 4);
    assert_eq!(world.shows("Nodes").await.values().copied().collect::<Vec<_>>(), [2.0]);
}

#[tokio::test]
async fn an_operator_finds_the_reason_of_a_slow_delivery_on_the_dashboard() {
    const SLOW: Way = Way::Slow(Duration::from_millis(250));
    let mut world = World::new().await;

    world.forgets("PostgreSQL is slow").await;
    world.postgres.be(SLOW);
    world.names("PostgreSQL is slow", Some("commit")).await;
    world.postgres.be(Way::Open);
    world.forgets("PostgreSQL is slow").await;

    world.forgets("Redis is slow").await;
    world.redis.be(SLOW);
    world.names("Redis is slow", Some("bus")).await;
    world.redis.be(Way::Open);
    world.forgets("Redis is slow").await;

    world.forgets("the bus loses messages, or is late").await;
    world.redis.be(Way::Cut);
    let waited = "waited to be read from the database";
    world.names("the bus loses messages, or is late", Some(waited)).await;
    let late = world.shows("Delivery by path").await;
    assert!(late["filled"] > 0.1, "a message from the database was not late: {late:?}");
    world.redis.be(Way::Open);
    world.forgets("the bus loses messages, or is late").await;

    let mut stalled = world.desk.connect(1, &world.talk.people.1).await;
    stalled.join(&world.talk.session, None).await;
    world.forgets("a receiver does not read").await;
    // 32 KB each, until the sockets are full; far less than the limit that ends a connection.
    let body = "😀".repeat(8_000);
    for _ in 0..30 {
        for _ in 0..20 {
            world.talk.say_as_much(&body).await;
        }
        // A node's metrics may be a second old.
        sleep(Duration::from_millis(1_100)).await;
        let text = world.text(1).await;
        let mut waits = text.lines().filter_map(|line| {
            line.strip_prefix("frontdesk_outbound_longest_wait_seconds ")?.parse::<f64>().ok()
        });
        if waits.any(|secs| secs > 0.5) {
            break;
        }
    }
    world.names("a receiver does not read", None).await;
    drop(stalled);
    world.forgets("a receiver does not read").await;

    world.forgets("the node has too little CPU").await;
    let pid = world.desk.nodes[1].pid();
    let starving = tokio::spawn(async move {
        loop {
            signal(pid, "STOP");
            sleep(Duration::from_millis(300)).await;
            signal(pid, "CONT");
            sleep(Duration::from_millis(150)).await;
        }
    });
    world.names("the node has too little CPU", None).await;
    starving.abort();
    signal(pid, "CONT");
    world.forgets("the node has too little CPU").await;

    world.forgets("S3 is slow").await;
    world.s3.be(Way::Slow(Duration::from_millis(800)));
    pictures_are_sent(&mut world).await;
    world.names("S3 is slow", None).await;
}

/// Sends pictures over more than two scrapes.
async fn pictures_are_sent(world: &mut World) {
    let Talk { session, people, dentist, .. } = &mut world.talk;
    let http = world.desk.http(0, &people.0);
    let file = picture(ImageFormat::Png, 40, 30);
    for number in 0..3 {
        let key = uploaded(&http, session, "image/png", &file).await;
        let message = json!({
            "clientId": format!("picture{number}"), "kind": "image", "imageKey": key,
        });
        http.post(&format!("/api/chats/{session}/messages"), &message).await.expect(201);
        assert_eq!(dentist.message().await["kind"], "image");
    }
}
