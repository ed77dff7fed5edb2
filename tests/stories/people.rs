//! Names of people, from a legacy directory that is read-only and may be down.

use std::time::Duration;

use frontdesk_test_support::{
    Client, Desk, Http, Issuer, MysqlDatabase, Relay, Servers, eventually, unique,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};

use crate::{FRONTDESK, seqs};

/// Creates a new customer in the directory and returns the id.
pub(crate) async fn new_customer(legacy: &MysqlDatabase, name: &str) -> String {
    let id = unique("sub");
    let avatar_url = "https://pictures.example/a.png";
    let insert = format!(
        "insert into customers values ('{id}', '{name}', 'Byron', '{id}@example.test', '{avatar_url}')"
    );
    legacy.execute(&insert).await;
    id
}

async fn open(customer: &Http) -> (Value, String) {
    let opened = customer.post("/api/chats", &json!({ "dentistId": 7 })).await.expect(201);
    let id = opened["id"].as_str().unwrap().to_owned();
    (opened, id)
}

#[tokio::test]
async fn names_and_pictures_are_for_both_and_an_email_is_for_the_dentist() {
    let legacy = Servers::get().await.mysql_database();
    let id = new_customer(&legacy, "Ada").await;
    let port = legacy.port.to_string();
    let mut env = legacy.variables(&port).to_vec();
    env.push(("LOG_LEVEL", "trace"));
    let desk = Desk::embedded_with(FRONTDESK, &env).await;
    let address = desk.nodes[0].address;
    let ada = Http::new(address, Some(&desk.issuer.customer(&id)));
    let dana = Http::new(address, Some(&Issuer::dentist("7")));
    let (opened, session) = open(&ada).await;
    let avatar_url = "https://pictures.example/a.png";
    let shown =
        json!({ "kind": "customer", "id": id, "name": "Ada Byron", "avatarUrl": avatar_url });
    assert_eq!(opened["customer"], shown);
    assert_eq!(opened["dentist"], json!({ "kind": "dentist", "id": "7", "name": "Dana Drill" }));

    let path = format!("/api/chats/{session}");
    let mut with_email = shown.clone();
    with_email["email"] = json!(format!("{id}@example.test"));
    assert_eq!(dana.get(&path).await.expect(200)["customer"], with_email);
    // Other people and requests that do not need the address do not get it.
    assert_eq!(ada.get(&path).await.expect(200)["customer"], shown);
    assert!(ada.get(&path).await.body["dentist"]["email"].is_null());
    let listed = dana.get("/api/chats").await.expect(200);
    let listed = listed["items"].as_array().unwrap().iter().find(|item| item["id"] == session);
    assert_eq!(listed.unwrap()["customer"], shown);
    let mut client = Client::connect(address, &Issuer::dentist("7")).await;
    assert_eq!(client.join(&session, None).await["session"]["customer"], shown);
    let logged = desk.nodes[0].log();
    assert!(!logged.iter().any(|line| line.contains("@example.test")), "i14");
}

#[tokio::test]
async fn a_new_name_in_the_directory_is_shown_once_the_lifetime_is_over() {
    let legacy = Servers::get().await.mysql_database();
    let id = new_customer(&legacy, "Ada").await;
    let port = legacy.port.to_string();
    let mut env = legacy.variables(&port).to_vec();
    env.push(("DIRECTORY_CACHE_S", "1"));
    let desk = Desk::embedded_with(FRONTDESK, &env).await;
    let address = desk.nodes[0].address;
    let token = desk.issuer.customer(&id);
    let ada = Http::new(address, Some(&token));
    let dana = Http::new(address, Some(&Issuer::dentist("7")));
    let (_, session) = open(&ada).await;
    let married = format!(
        "update customers set last_name = 'King', avatar_url = null where cognito_sub = '{id}'"
    );
    legacy.execute(&married).await;
    let path = format!("/api/chats/{session}");
    eventually("the other side sees the new name", async || {
        let customer = dana.get(&path).await.expect(200)["customer"].clone();
        customer["name"] == "Ada King" && customer["avatarUrl"].is_null()
    })
    .await;
    let mut patient = Client::connect(address, &token).await;
    assert_eq!(patient.send(&session, "k", "hello").await["sender"]["name"], "Ada King");
}

#[tokio::test]
async fn f18_without_mysql_chat_goes_on_with_the_last_known_names() {
    let legacy = Servers::get().await.mysql_database();
    let id = new_customer(&legacy, "Ada").await;
    let mysql = Relay::start(legacy.port).await;
    let port = mysql.port.to_string();
    let mut env = legacy.variables(&port).to_vec();
    env.push(("DIRECTORY_CACHE_S", "1"));
    let mut desk = Desk::embedded_with(FRONTDESK, &env).await;
    let token = desk.issuer.customer(&id);
    let address = desk.nodes[0].address;
    let (ada, dana) = (Http::new(address, Some(&token)), Issuer::dentist("7"));
    let (_, session) = open(&ada).await;
    mysql.cut();
    // The restart proves that names do not come from the node's memory.
    desk.nodes[0].restart().await;

    let prompt = Duration::from_secs(2);
    let served = async {
        let again = ada.post("/api/chats", &json!({ "dentistId": 7 })).await.expect(200);
        assert_eq!(again["dentist"]["name"], "Dana Drill");
        let listed = ada.get("/api/chats").await.expect(200);
        assert_eq!(listed["items"][0]["customer"]["name"], "Ada Byron");
        let mut doctor = Client::connect(address, &dana).await;
        let joined = doctor.join(&session, Some(0)).await;
        assert_eq!(joined["session"]["customer"]["name"], "Ada Byron");
        let mut patient = Client::connect(address, &token).await;
        let sent = patient.send(&session, "k", "still here?").await;
        assert_eq!(sent["sender"]["name"], "Ada Byron");
        assert_eq!(doctor.message().await, sent);
        let history = ada.get(&format!("/api/chats/{session}/messages")).await.expect(200);
        assert_eq!(seqs(&history["items"]), [1]);
    };
    timeout(prompt, served).await.expect("chat waits for MySQL");
    // A session with a new person has to wait for the directory.
    let stranger = ada.post("/api/chats", &json!({ "dentistId": 8 })).await;
    assert_eq!((stranger.status, &stranger.body["code"]), (503, &json!("unavailable")));
    let health = ada.get("/health").await.expect(200);
    assert_eq!(
        (&health["status"], &health["services"]["mysql"]),
        (&json!("degraded"), &json!("down"))
    );
    assert_eq!(ada.get("/health/ready").await.status, 200);

    // The directory is back, and everything works again.
    let listener = TcpListener::bind(("127.0.0.1", mysql.port)).await.unwrap();
    let _mysql = Relay::on(listener, legacy.port);
    eventually("health is ok", async || ada.get("/health").await.body["status"] == "ok").await;
    eventually("a stranger is looked up", async || {
        let stranger = ada.post("/api/chats", &json!({ "dentistId": 8 })).await;
        stranger.body["code"] == "person_not_found"
    })
    .await;
}

#[tokio::test]
async fn the_directory_is_read_over_tls_with_a_certificate_that_is_trusted() {
    let servers = Servers::get().await;
    let mut legacy = servers.mysql_database();
    // MariaDB accepts this user over TLS only.
    legacy.user = "encrypted".into();
    let id = new_customer(&servers.mysql_database(), "Ada").await;
    let port = legacy.port.to_string();
    for (variable, value, health) in [
        ("MYSQL_CA_FILE", servers.certificate.to_str().unwrap(), "up"),
        ("MYSQL_TLS", "true", "down"),
        ("MYSQL_TLS", "false", "down"),
    ] {
        let mut env = legacy.variables(&port).to_vec();
        env.push((variable, value));
        let desk = Desk::embedded_with(FRONTDESK, &env).await;
        let ada = Http::new(desk.nodes[0].address, Some(&desk.issuer.customer(&id)));
        let services = ada.get("/health").await.expect(200)["services"].clone();
        assert_eq!(services["mysql"], health, "{variable}={value}");
        let opened = ada.post("/api/chats", &json!({ "dentistId": 7 })).await;
        assert_eq!(opened.status, if health == "up" { 201 } else { 503 });
    }
}
