//! The deployment of `docker compose up` without Docker: two nodes with the environment of
//! compose.yaml, nginx with compose's files, and the tokens of the guide.

use std::{collections::HashMap, net::SocketAddr};

use frontdesk_test_support::{
    Client, Compose, Http, Nginx, Node, PATIENCE, PostgresDatabase, Redis, S3, Servers, eventually,
    free_port, unique,
};
use reqwest::{Certificate, Method};
use serde_json::{Value, json};

use crate::FRONTDESK;

/// All services of compose.yaml, at other addresses.
struct Composed {
    nodes: Vec<Node>,
    nginx: Nginx,
    compose: Compose,
    env: HashMap<String, String>,
    keys: tempfile::TempDir,
    _redis: Redis,
    _s3: S3,
}

/// A database whose owner is no superuser, but may create the role of the nodes.
async fn database_of(user: &str) -> PostgresDatabase {
    let database = Servers::get().await.postgres_database().await;
    let make = format!(
        "create role {user} login createrole; alter database {} owner to {user}",
        database.name
    );
    database.client().await.batch_execute(&make).await.unwrap();
    database
}

impl Composed {
    async fn start() -> Self {
        let compose = Compose::read();
        let keys = tempfile::tempdir().unwrap();
        // nginx's workers, which run as another user, read from this directory.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(keys.path(), mode).unwrap();
        Compose::set_up(keys.path());
        let env = compose.environment("node-a");
        assert_eq!(env, compose.environment("node-b"));
        let conf = keys.path().join("redis.conf");
        let password = format!(">{}", env["REDIS_PASSWORD"]);
        let shipped = Compose::file("../redis/frontdesk.conf").replace(">PASSWORD", &password);
        std::fs::write(&conf, shipped).unwrap();
        let redis = Redis::start_with(&["--include", conf.to_str().unwrap()]).await;
        let s3 = [&env["S3_BUCKET"], &env["AWS_ACCESS_KEY_ID"], &env["AWS_SECRET_ACCESS_KEY"]];
        let s3 = S3::start_with(s3[0], s3[1], s3[2]).await;
        let (issuer_port, https_port) = (free_port().to_string(), free_port());
        let here = Here { redis: redis.port, s3: &s3, issuer_port: &issuer_port, https_port };
        let env = here.settle(env, compose.environment("migrate")).await;
        let starting = (0..2).map(|_| Node::start(FRONTDESK, &env));
        let nodes = futures_util::future::join_all(starting).await;
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
        let servers = Compose::file("site/extra-servers.conf")
            .replace("8081", &format!("127.0.0.1:{issuer_port}"))
            .replace("/etc/ssl/frontdesk", keys.path().to_str().unwrap());
        let endpoint = s3.env().into_iter().find(|(name, _)| *name == "S3_ENDPOINT").unwrap().1;
        let routes =
            Compose::file("site/extra-routes.conf").replace("http://172.28.53.14:9000", endpoint);
        let site = [("extra-servers.conf", servers), ("extra-routes.conf", routes)];
        let nginx = Nginx::start_with(&addresses, https_port, &site).await;
        let env = env.into_iter().collect();
        Self { nodes, nginx, compose, env, keys, _redis: redis, _s3: s3 }
    }

    /// Token of `docker compose run --rm customer ID`.
    fn customer(&self, id: &str) -> String {
        let keys = self.keys.path().to_str().unwrap();
        let arguments = self.compose.arguments("customer").into_iter();
        let arguments = arguments.map(|word| word.replace("/etc/ssl/frontdesk", keys));
        let env = self.compose.environment("customer");
        let known = env.keys().map(|name| (name.clone(), self.env[name].clone()));
        printed(&known.collect(), arguments.chain([id.to_owned()]).collect())
    }

    /// Token of `docker compose exec node-a /frontdesk token --kind … --id ID`.
    fn by_a_node(&self, kind: &str, id: &str) -> String {
        let arguments = ["token", "--kind", kind, "--id", id].map(str::to_owned);
        printed(&self.env, arguments.to_vec())
    }
}

/// Standard output of the binary.
fn printed(env: &HashMap<String, String>, arguments: Vec<String>) -> String {
    let mut command = std::process::Command::new(FRONTDESK);
    let output = command.env_clear().envs(env).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Addresses of the services on this machine.
struct Here<'a> {
    redis: u16,
    s3: &'a S3,
    issuer_port: &'a str,
    https_port: u16,
}

impl Here<'_> {
    /// The nodes' variables with the addresses of this machine in place of compose's; all others are
    /// kept. Migrates the database first, as the service `migrate` does.
    async fn settle(
        &self,
        mut env: HashMap<String, String>,
        migrate: HashMap<String, String>,
    ) -> Vec<(String, String)> {
        let [owner, node] = ["owner", "node"].map(|role| unique(role).replace('-', "_"));
        let (database, legacy) = (database_of(&owner).await, Servers::get().await.mysql_database());
        assert_eq!(migrate["POSTGRES_NODE_USER"], env["POSTGRES_USER"]);
        assert_eq!(migrate["POSTGRES_NODE_PASSWORD"], env["POSTGRES_PASSWORD"]);
        let here = [
            ("POSTGRES_HOST", "127.0.0.1".to_owned()),
            ("POSTGRES_PORT", database.port.to_string()),
            ("POSTGRES_DB", database.name.clone()),
            ("POSTGRES_USER", owner),
            ("POSTGRES_NODE_USER", node.clone()),
        ];
        let here = here.map(|(name, value)| (name.to_owned(), value));
        printed(&migrate.into_iter().chain(here).collect(), vec!["migrate".to_owned()]);
        for statement in Compose::file("mysql/10-people.sql").split(';') {
            if !statement.trim().is_empty() {
                legacy.execute(statement).await;
            }
        }
        let mut move_to = |name: &str, from: &str, to: &str| {
            let value = env.get_mut(name).unwrap_or_else(|| panic!("no {name}"));
            assert!(value.contains(from), "{name}: {value}");
            *value = value.replace(from, to);
        };
        for (name, host) in
            [("POSTGRES_HOST", "postgres"), ("REDIS_HOST", "redis"), ("MYSQL_HOST", "mysql")]
        {
            move_to(name, host, "127.0.0.1");
        }
        let endpoint = self.s3.env().into_iter().find(|(name, _)| *name == "S3_ENDPOINT");
        move_to("S3_ENDPOINT", "http://s3:9000", endpoint.unwrap().1);
        move_to("S3_PUBLIC_ENDPOINT", "localhost:8443", &format!("localhost:{}", self.https_port));
        move_to("COGNITO_ISSUER", "nginx:8081", &format!("127.0.0.1:{}", self.issuer_port));
        move_to("TRUSTED_PROXIES", "172.28.53.10", "127.0.0.1");
        let ports = [
            ("POSTGRES_PORT", database.port.to_string()),
            ("REDIS_PORT", self.redis.to_string()),
            ("MYSQL_PORT", legacy.port.to_string()),
            ("POSTGRES_DB", database.name),
            ("POSTGRES_USER", node),
            ("ADMIN_PORT", "0".to_owned()),
            ("MYSQL_USER", legacy.user),
            ("MYSQL_PASSWORD", legacy.password),
        ];
        env.extend(ports.map(|(name, value)| (name.to_owned(), value)));
        env.into_iter().collect()
    }
}

#[tokio::test]
async fn compose_gives_two_nodes_behind_nginx_and_the_guide_s_people_talk() {
    let composed = Composed::start().await;
    let nginx = &composed.nginx;
    let outside = Http::new(nginx.address, None);
    eventually("all parts are up", async || outside.get("/health").await.body["status"] == "ok")
        .await;
    let (ada, dana) = (composed.customer("ada"), composed.by_a_node("dentist", "1"));
    let http = Http::new(nginx.address, Some(&ada));
    let opened = http.post("/api/chats", &json!({ "dentistId": 1 })).await.expect(201);
    assert!(
        opened.to_string().contains("Dana Dentist"),
        "the name is not that of the directory: {opened}"
    );
    let session = opened["id"].as_str().unwrap();
    let mut doctors = Vec::new();
    for node in &composed.nodes {
        let mut doctor = Client::connect(node.address, &dana).await;
        doctor.join(session, None).await;
        doctors.push(doctor);
    }
    let mut patient = Client::connect(nginx.address, &ada).await;
    patient.send(session, "by-socket", "Hello").await;
    let path = format!("/api/chats/{session}/messages");
    for key in ["1", "2", "3"] {
        let text = json!({ "clientId": key, "kind": "text", "body": "Hello" });
        http.post(&path, &text).await.expect(201);
    }
    for doctor in &mut doctors {
        for seq in 1..=4 {
            assert_eq!(doctor.message().await["seq"], seq);
        }
    }
    let log = nginx.access_log().concat();
    for node in &composed.nodes {
        assert!(log.contains(&node.address.to_string()), "nginx sent no request to a node");
    }
    for node in &composed.nodes {
        let names =
            ["COGNITO_", "CORS_", "DJANGO_", "POSTGRES_", "REDIS_", "S3_", "TRUSTED_", "MYSQL_"];
        let is_of_variable = |line: &String| {
            names.iter().any(|name| line.contains(&format!("\"message\":\"{name}")))
        };
        let warnings: Vec<_> = node.log().into_iter().filter(is_of_variable).collect();
        assert!(warnings.is_empty(), "the nodes warn of compose's variables: {warnings:#?}");
    }
    let staff = Http::new(nginx.address, Some(&composed.by_a_node("admin", "9")));
    staff.get("/api/admin/users/blocked").await.expect(200);
    a_picture_goes_through_nginx(&composed, &http, session).await;
}

/// Uses presigned URLs with the public address, which the nodes cannot reach.
async fn a_picture_goes_through_nginx(composed: &Composed, http: &Http, session: &str) {
    let certificate = std::fs::read(&composed.nginx.certificate).unwrap();
    let browser = reqwest::Client::builder()
        .timeout(PATIENCE)
        .tls_certs_only([Certificate::from_pem(&certificate).unwrap()])
        .build()
        .unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    let red = image::DynamicImage::from(image::RgbImage::new(400, 300));
    red.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    let wanted = json!({ "contentType": "image/png", "size": png.len() });
    let invited = http.post(&format!("/api/chats/{session}/images"), &wanted).await.expect(201);
    let upload = &invited["upload"];
    let base = format!("https://localhost:{}/frontdesk-pictures/", composed.nginx.https.port());
    let url = upload["url"].as_str().unwrap();
    assert!(url.starts_with(&base), "the URL is not for clients, at {base}");
    let mut request = browser.request(Method::PUT, url).body(png.clone());
    for (name, value) in upload["headers"].as_object().unwrap() {
        if name != "content-length" {
            request = request.header(name, value.as_str().unwrap());
        }
    }
    assert_eq!(request.send().await.unwrap().status(), 200);
    let image = &invited["imageKey"];
    let message: Value = json!({ "clientId": "picture", "kind": "image", "imageKey": image });
    http.post(&format!("/api/chats/{session}/messages"), &message).await.expect(201);
    let image = image.as_str().unwrap();
    let fetch = http.get(&format!("/api/chats/{session}/images/{image}")).await;
    assert_eq!(fetch.status, 302);
    assert!(fetch.header("location").starts_with(&base));
    let fetched = browser.get(fetch.header("location")).send().await.unwrap();
    assert_eq!(fetched.bytes().await.unwrap(), png);
    let logs = composed.nginx.logs();
    assert!(
        logs.contains("/frontdesk-pictures/") && !logs.contains("X-Amz"),
        "the log contains a signature"
    );
}
