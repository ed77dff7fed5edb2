//! Several organisations on one installation.

use std::process::Command;

use frontdesk_test_support::{
    Client, Desk, Framing, Issuer, PLATFORM_KEY, Person, Platform, PostgresDatabase, Practice,
    Redis, Reply, SECRETS_KEY, Servers, eventually,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{FRONTDESK, seqs};

#[path = "tenants/platform.rs"]
mod platform;

/// Variables of a node with a platform API.
pub(crate) const OPERATED: [(&str, &str); 2] =
    [("PLATFORM_API_KEY", PLATFORM_KEY), ("SECRETS_KEY", SECRETS_KEY)];
/// A later key of the tenants' secrets.
const NEW_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// Nodes with a platform API.
pub(crate) async fn operated(nodes: usize) -> Desk {
    let redis_port = Servers::get().await.redis_port;
    Desk::cluster_with(FRONTDESK, nodes, redis_port, &OPERATED).await
}

/// Runs a command on the database. Returns whether it succeeded, and its output.
fn command(database: &PostgresDatabase, arguments: &[&str], keys: &str) -> (bool, String) {
    let run = Command::new(FRONTDESK)
        .args(arguments)
        .env_clear()
        .env("POSTGRES_HOST", "127.0.0.1")
        .env("POSTGRES_PORT", database.port.to_string())
        .env("POSTGRES_DB", &database.name)
        .env("POSTGRES_USER", "postgres")
        .env("SECRETS_KEY", keys)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    (run.status.success(), out)
}

fn code(reply: &Reply) -> (u16, String) {
    (reply.status, reply.body["code"].as_str().unwrap_or_default().to_owned())
}

async fn chats(desk: &Desk, node: usize, person: &Person) -> Reply {
    desk.http(node, person).get("/api/chats").await
}

/// A patient and a dentist of a practice, who talk across two nodes. Everywhere they have the same ids.
struct Talk {
    practice: Practice,
    customer: Person,
    dentist: Person,
    session: String,
    patient: Client,
    doctor: Client,
}

impl Talk {
    async fn begin(desk: &Desk, practice: Practice, framing: Framing) -> Self {
        let (customer, dentist) = (practice.customer("ada"), practice.dentist("7"));
        let session = desk.session(&customer, &dentist).await;
        let mut patient = desk.connect_by(framing, 0, &customer).await;
        let mut doctor = desk.connect_by(framing, 1, &dentist).await;
        patient.join(&session, None).await;
        doctor.join(&session, None).await;
        Self { practice, customer, dentist, session, patient, doctor }
    }

    async fn say(&mut self, client_id: &str, body: &str) -> Value {
        self.patient.send(&self.session, client_id, body).await;
        self.doctor.message().await
    }
}

#[tokio::test]
async fn i15_ten_practices_share_an_installation_and_see_nothing_of_each_other() {
    let desk = operated(2).await;
    let platform = Platform::of(&desk.nodes[0]);
    let mut talks = Vec::new();
    for number in 0..10 {
        let practice = Practice::open(&platform, &format!("Practice {number}")).await;
        practice.known(&desk.nodes[1]).await;
        let framing = if number % 2 == 0 { Framing::Native } else { Framing::SocketIo };
        talks.push(Talk::begin(&desk, practice, framing).await);
    }
    // The same person's and message's ids everywhere.
    for (number, talk) in talks.iter_mut().enumerate() {
        let heard = talk.say("1", &format!("only-{number} caries")).await;
        assert_eq!(
            (&heard["seq"], &heard["body"]),
            (&json!(1), &json!(format!("only-{number} caries")))
        );
    }
    for (number, talk) in talks.iter().enumerate() {
        for person in [&talk.customer, &talk.dentist] {
            let http = desk.http(number % 2, person);
            let listed = http.get("/api/chats").await.expect(200);
            let listed = listed["items"].as_array().unwrap();
            assert_eq!(listed.len(), 1, "{listed:?}");
            assert_eq!(listed[0]["id"], talk.session.as_str());
            assert_eq!(listed[0]["lastMessage"]["body"], format!("only-{number} caries"));
            let other = &talks[(number + 1) % talks.len()].session;
            let nobodys = "01890000-0000-7000-8000-000000000000";
            for (path, expected) in [
                (format!("/api/chats/{other}"), format!("/api/chats/{nobodys}")),
                (format!("/api/chats/{other}/messages"), format!("/api/chats/{nobodys}/messages")),
            ] {
                let (theirs, none) = (http.get(&path).await, http.get(&expected).await);
                assert_eq!((theirs.status, &theirs.body["code"]), (404, &none.body["code"]));
                assert_eq!(theirs.body["detail"], none.body["detail"]);
            }
            let sent = json!({ "clientId": "2", "kind": "text", "body": "hello" });
            let sent = http.post(&format!("/api/chats/{other}/messages"), &sent).await;
            assert_eq!(sent.status, 404, "{}", sent.body);
        }
        eventually("the message is found", async || {
            let found = desk.http(1, &talk.dentist).get("/api/chats/search?q=caries").await;
            found.expect(200)["items"].as_array().unwrap().len() == 1
        })
        .await;
    }
    // A block, unread counts and presence are of one practice.
    let admin = talks[0].practice.admin("1");
    desk.http(0, &admin).put("/api/admin/users/customer/ada/block").await.expect(200);
    assert_eq!(talks[0].patient.closed().await, 4403);
    for talk in &mut talks[1..3] {
        talk.say("3", "still here").await;
        assert_eq!(chats(&desk, 1, &talk.customer).await.status, 200);
    }
    let blocked = desk.http(1, &talks[1].practice.admin("1")).get("/api/admin/users/blocked").await;
    assert_eq!(blocked.expect(200)["items"], json!([]));
    // Main has its own people of these ids.
    let ada = Person { kind: "customer", token: desk.issuer.customer("ada"), id: "ada".into() };
    assert_eq!(chats(&desk, 0, &ada).await.expect(200)["items"], json!([]));
    let usage = platform.get(&format!("/{}/usage", talks[1].practice.id)).await.expect(200);
    let expected = json!({ "sessions": 1, "openSessions": 1, "messages": 2, "people": 2, "imageBytes": 0,
                           "jobs": 0, "deadJobs": 0 });
    assert_eq!(usage, expected);
}

#[tokio::test]
async fn i15_a_token_is_of_its_issuers_tenant_and_no_issuer_speaks_for_another() {
    let mut desk = operated(1).await;
    let platform = Platform::of(&desk.nodes[0]);
    let one = Practice::open(&platform, "One").await;
    let two = Practice::open(&platform, "Two").await;
    for practice in [&one, &two] {
        practice.known(&desk.nodes[0]).await;
    }
    let refused = async |token: String| {
        let person = Person { kind: "dentist", token, id: String::new() };
        let reply = chats(&desk, 0, &person).await;
        assert_eq!((reply.status, &reply.body["code"]), (401, &json!("token_invalid")));
    };
    let mut claims = Issuer::dentist_claims("7");
    claims["iss"] = one.django.clone().into();
    // Signed with another practice's secret, with main's, with none, and in the name of a pool.
    refused(Issuer::sign_with_secret(&claims, two.secret.as_bytes())).await;
    refused(Issuer::sign_with_secret(&claims, frontdesk_test_support::DJANGO_SECRET.as_bytes()))
        .await;
    refused(two.pool.sign(&claims)).await;
    let mut of_pool = one.pool.customer_claims("ada");
    refused(two.pool.sign(&of_pool)).await;
    refused(Issuer::sign_with_secret(&of_pool, one.secret.as_bytes())).await;
    of_pool["client_id"] = "another".into();
    refused(one.pool.sign(&of_pool)).await;
    // A practice's secret opens nothing without its name.
    refused(Issuer::sign_with_secret(&Issuer::dentist_claims("7"), one.secret.as_bytes())).await;
    // Nobody's tokens are main's by a key that a tenant shares with main.
    let shared = json!({ "kind": "django", "issuer": "shares-a-key", "secret": frontdesk_test_support::DJANGO_SECRET });
    let shared = platform.post(&format!("/{}/issuers", one.id), &shared).await;
    assert_eq!(code(&shared), (409, "issuer_key_taken".into()));
    let shared = json!({ "kind": "django", "issuer": "shares-a-key", "secret": one.secret });
    let shared = platform.post(&format!("/{}/issuers", two.id), &shared).await;
    assert_eq!(code(&shared), (409, "issuer_key_taken".into()));
    let keys = desk.issuer.jwks_url().replace("/pool/", "/./pool/");
    let shared = json!({ "kind": "django", "issuer": "shares-a-key", "jwksUrl": keys });
    let shared = platform.post(&format!("/{}/issuers", two.id), &shared).await;
    assert_eq!(code(&shared), (409, "issuer_key_taken".into()));
    // A socket keeps its tenant.
    let ada = one.customer("ada");
    let mut socket = desk.connect(0, &ada).await;
    let swapped =
        socket.request("auth:refresh", json!({ "token": two.pool.customer("ada") })).await;
    assert_eq!(swapped.unwrap_err()["code"], "forbidden");
    // A removed issuer counts no longer, and its name is free for another tenant.
    let issuers = platform.get(&format!("/{}/issuers", one.id)).await.expect(200);
    let django = &issuers["items"][1];
    assert_eq!((&django["issuer"], &django["hasSecret"]), (&json!(one.django), &json!(true)));
    assert!(!issuers.to_string().contains(&one.secret));
    let path = format!("/{}/issuers/{}", one.id, django["id"].as_str().unwrap());
    assert_eq!(
        platform
            .send(
                Method::DELETE,
                &path.replace(&format!("/{}/", one.id), &format!("/{}/", two.id)),
                None
            )
            .await
            .status,
        404
    );
    assert_eq!(platform.send(Method::DELETE, &path, None).await.status, 204);
    refused(one.dentist("7").token).await;
    let again = json!({ "kind": "django", "issuer": one.django, "secret": one.secret });
    platform.post(&format!("/{}/issuers", two.id), &again).await.expect(201);
    let listed = chats(&desk, 0, &one.dentist("7")).await;
    assert_eq!(listed.expect(200)["items"], json!([]), "it is two's dentist now");
    // A pool that the environment makes main's is nobody's: its people are not mixed up with main's.
    let pool = two.pool.url.clone();
    desk.nodes[0] = desk.nodes[0].another(&[("COGNITO_ISSUER", pool)]).await;
    let refused = chats(&desk, 0, &two.customer("ada")).await;
    assert_eq!(code(&refused), (503, "issuer_unavailable".into()));
    desk.is_unharmed(&[&ada], &[&one.secret, &two.secret, PLATFORM_KEY]).await;
}

#[tokio::test]
async fn a_suspended_practice_is_cut_off_on_every_node_and_comes_back_unharmed() {
    let mut redis = Redis::start().await;
    let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &OPERATED).await;
    let platform = Platform::of(&desk.nodes[0]);
    let mut talks = Vec::new();
    for name in ["Late payer", "Neighbour"] {
        let practice = Practice::open(&platform, name).await;
        practice.known(&desk.nodes[1]).await;
        talks.push(Talk::begin(&desk, practice, Framing::Native).await);
        talks.last_mut().unwrap().say("1", "before").await;
    }
    let [late, neighbour] = &mut talks[..] else { panic!() };
    let suspend = json!({ "suspended": true });
    let tenant = platform.patch(&format!("/{}", late.practice.id), &suspend).await.expect(200);
    assert_eq!(tenant["suspended"], true);
    // On the other node too, within a second.
    assert_eq!(late.patient.closed().await, 4403);
    assert_eq!(late.doctor.closed().await, 4403);
    for node in 0..2 {
        for person in [&late.customer, &late.dentist] {
            eventually("refused", async || chats(&desk, node, person).await.status == 403).await;
            let refused = chats(&desk, node, person).await;
            assert_eq!(code(&refused), (403, "tenant_suspended".into()));
        }
    }
    neighbour.say("2", "all well").await;
    // It holds while Redis is away, and for a node that starts meanwhile.
    redis.kill().await;
    let listed = platform.get("").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    let resume = json!({ "suspended": false, "name": "Payer" });
    let tenant = platform.patch(&format!("/{}", late.practice.id), &resume).await.expect(200);
    assert_eq!((&tenant["suspended"], &tenant["name"]), (&json!(false), &json!("Payer")));
    eventually("let in", async || chats(&desk, 1, &late.dentist).await.status == 200).await;
    let history =
        desk.http(1, &late.dentist).get(&format!("/api/chats/{}/messages", late.session)).await;
    assert_eq!(seqs(&history.expect(200)["items"]), [1]);
}

#[tokio::test]
async fn i21_secrets_are_sealed_rotated_and_refused_without_a_key() {
    let mut desk = operated(1).await;
    let practice = Practice::open(&Platform::of(&desk.nodes[0]), "Sealed").await;
    let database = desk.database.clone().unwrap();
    let stored = async || {
        let row = database.client().await;
        let row = row.query_one("select secret from issuers where secret is not null", &[]).await;
        row.unwrap().get::<_, String>(0)
    };
    let before = stored().await;
    assert!(before.starts_with("1.") && !before.contains(&practice.secret), "{before}");
    let rotate = |keys: &str| command(&database, &["secrets", "rotate"], keys);
    let (done, said) = rotate(NEW_KEY);
    assert!(!done && said.contains("not in SECRETS_KEY"), "{said}");
    let (done, said) = rotate(&format!("{NEW_KEY},{SECRETS_KEY}"));
    assert!(done && said.contains("1 of 1 secrets sealed anew"), "{said}");
    assert_ne!(stored().await, before);
    // The running node has not got the new key. It goes on with what it knows.
    assert_eq!(chats(&desk, 0, &practice.dentist("7")).await.status, 200);
    desk.nodes[0] = desk.nodes[0].another(&[("SECRETS_KEY", NEW_KEY.to_owned())]).await;
    assert_eq!(chats(&desk, 0, &practice.dentist("7")).await.status, 200);
    // Without the key its tokens can't be verified, and new secrets are refused. Pools go on.
    desk.nodes[0] = desk.nodes[0].another(&[("SECRETS_KEY", String::new())]).await;
    let refused = chats(&desk, 0, &practice.dentist("7")).await;
    assert_eq!(code(&refused), (503, "issuer_unavailable".into()));
    assert_eq!(chats(&desk, 0, &practice.customer("ada")).await.status, 200);
    let platform = Platform::of(&desk.nodes[0]);
    let django =
        json!({ "kind": "django", "issuer": "x", "secret": "0123456789abcdef0123456789abcdef" });
    let refused = platform.post(&format!("/{}/issuers", practice.id), &django).await;
    assert_eq!(code(&refused), (409, "secrets_key_missing".into()));
    let told = desk.nodes[0].log().iter().any(|line| line.contains("an issuer can't be used"));
    assert!(told, "the operator learns why");
}

#[tokio::test]
async fn i12_a_database_of_an_earlier_version_has_one_tenant_until_its_upgrade_has_ended() {
    let desk = operated(1).await;
    let database = desk.database.clone().unwrap();
    // As version 11 left it.
    let earlier = "
        alter table people_seen drop constraint people_seen_of_tenant, add primary key (kind, person_id);
        create unique index people_seen_of_tenant on people_seen (tenant_id, kind, person_id);
        alter table blocks drop constraint blocks_of_tenant, add primary key (kind, person_id);
        create unique index blocks_of_tenant on blocks (tenant_id, kind, person_id);
        update tenant_changes set allowed = false";
    database.client().await.batch_execute(earlier).await.unwrap();
    let platform = Platform::of(&desk.nodes[0]);
    let (customer, _, session) = desk.pair().await;
    let shared = async || {
        let path = format!("/api/admin/chats/{session}/participants");
        desk.http(0, &desk.admin()).post(&path, &json!({ "dentistId": "8" })).await
    };
    assert_eq!(code(&shared().await), (409, "upgrade_unfinished".into()));
    let refused = platform.post("", &json!({ "name": "Two" })).await;
    assert_eq!(code(&refused), (409, "upgrade_unfinished".into()));
    for said in ["the upgrade has ended", "schema is up to date"] {
        let (done, out) = command(&database, &["migrate", "--finish"], "");
        assert!(done && out.contains(said), "{out}");
    }
    platform.post("", &json!({ "name": "Two" })).await.expect(201);
    shared().await.expect(201);
    assert_eq!(chats(&desk, 0, &customer).await.status, 200);
}
