//! A user opens sessions with everyone: to bother them, to see who is online, and to learn which ids
//! exist.

use std::{collections::BTreeMap, time::Duration};

use frontdesk_test_support::{
    Client, Desk, Framing, Http, Issuer, MysqlDatabase, Relay, Reply, Servers, Victim, eventually,
    try_connect, unique,
};
use serde_json::{Value, json};
use tokio::time::{Instant, interval, timeout};

use crate::{FRONTDESK, one_node, two_nodes};

/// Duration of the flood.
const FLOOD: Duration = Duration::from_secs(6);
/// The default limit.
const OPENS: (&str, &str) = ("LIMIT_OPENS_PER_USER", "10");

async fn open(http: &Http, dentist: &str) -> Reply {
    http.post("/api/chats", &json!({ "dentistId": dentist })).await
}

fn is_limited(reply: &Reply) -> bool {
    let again: u32 = reply.header("retry-after").parse().unwrap();
    (reply.status, &reply.body["code"]) == (429, &json!("rate_limited"))
        && (1..=60).contains(&again)
}

/// Opens sessions with new people, as fast as one address may send requests. Returns the people whose
/// session opened, and the number of refusals.
async fn flood(nodes: [Http; 2]) -> (Vec<String>, usize) {
    let (mut opened, mut refused) = (Vec::new(), 0);
    let (until, mut turns) = (Instant::now() + FLOOD, interval(Duration::from_millis(10)));
    for http in nodes.iter().cycle() {
        turns.tick().await;
        if Instant::now() > until {
            break;
        }
        let dentist = unique("stranger");
        let reply = open(http, &dentist).await;
        if reply.status == 201 {
            opened.push(dentist);
        } else {
            assert!(is_limited(&reply), "{}: {}", reply.status, reply.text);
            refused += 1;
        }
    }
    (opened, refused)
}

#[tokio::test]
async fn c8_a_flood_of_openings_comes_to_ten_a_minute_over_all_nodes_and_others_notice_nothing() {
    let redis_port = Servers::get().await.redis_port;
    let desk = Desk::cluster_with(FRONTDESK, 2, redis_port, &[OPENS]).await;
    let attacker = desk.customer();
    let http = desk.http(0, &attacker);
    let mut victim = Victim::enter(&desk, 0).await;
    let alone = victim.measure().await;
    let began = Instant::now();
    let nodes = [desk.http(0, &attacker), desk.http(1, &attacker)];
    let (beside, (opened, refused)) = victim.measure_beside(flood(nodes)).await;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    beside.are_as_if_alone(&alone);
    // Ten fit at once; a node that does not know the others' counts yet admits some more.
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let opens = opened.len() as f64;
    assert!(opens >= 10.0 && opens <= 20.0 + 10.0 * minutes, "{opens} in {minutes} minutes");
    assert!(refused > opened.len(), "{refused}");
    let listed = http.get("/api/chats?limit=200").await.expect(200);
    assert_eq!(
        listed["items"].as_array().unwrap().len(),
        opened.len(),
        "refused requests opened sessions too"
    );
    // An app may open its existing sessions again without limit, on any node.
    for node in [0, 1] {
        for dentist in &opened {
            open(&desk.http(node, &attacker), dentist).await.expect(200);
        }
    }
    // Other users have limits of their own.
    desk.pair().await;
}

#[tokio::test]
async fn c8_a_customer_has_a_bounded_number_of_sessions_that_wait_for_an_answer() {
    let limit = [("LIMIT_UNANSWERED_PER_USER", "3")];
    let redis_port = Servers::get().await.redis_port;
    for desk in [
        Desk::embedded_with(FRONTDESK, &limit).await,
        Desk::cluster_with(FRONTDESK, 1, redis_port, &limit).await,
    ] {
        let (customer, dentists) = (desk.customer(), [(); 4].map(|()| desk.dentist()));
        let http = desk.http(0, &customer);
        let mut sessions = Vec::new();
        for dentist in &dentists[..3] {
            sessions.push(desk.session(&customer, dentist).await);
        }
        let refused = open(&http, &dentists[3].id).await.expect(409);
        assert_eq!(refused["code"], "limit_reached");
        open(&http, &dentists[0].id).await.expect(200);
        // The customer's own messages are no reply.
        desk.greet(&customer, &sessions[0]).await;
        open(&http, &dentists[3].id).await.expect(409);
        desk.greet(&dentists[0], &sessions[0]).await;
        open(&http, &dentists[3].id).await.expect(201);
        // A dentist may write to many people who have not replied.
        let desk_of = desk.http(0, &desk.dentist());
        for _ in 0..5 {
            let with = json!({ "customerId": unique("patient") });
            desk_of.post("/api/chats", &with).await.expect(201);
        }
    }
}

async fn is_not_told(device: &mut Client) {
    // Longer than the interval at which a node refreshes the presence a user may see.
    let heard = timeout(Duration::from_secs(5), device.event("presence")).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test]
async fn c8_whoever_opens_a_session_is_told_of_a_strangers_presence_once_that_one_has_written() {
    for desk in [two_nodes().await, one_node().await] {
        let last = desk.nodes.len() - 1;
        let (customer, dentist, session) = desk.pair().await;
        let mut doctor = desk.connect(last, &dentist).await;
        doctor.join(&session, None).await;
        let mut devices = Vec::new();
        for framing in [Framing::Native, Framing::SocketIo] {
            let mut device = desk.connect_by(framing, 0, &customer).await;
            device.join(&session, None).await;
            devices.push(device);
        }
        // The customer's own messages make nobody else known.
        devices[0].send(&session, "1", "are you there?").await;
        for device in &mut devices {
            is_not_told(device).await;
        }
        // The dentist has a message of the customer, and so may see the customer's presence.
        assert_eq!(doctor.event("presence").await["online"], true);
        doctor.send(&session, "1", "I am").await;
        for device in &mut devices {
            let presence = device.event("presence").await;
            assert_eq!(
                (&presence["who"]["id"], &presence["online"]),
                (&json!(dentist.id), &json!(true))
            );
        }
        // A later join knows that the dentist has written, even before the page it reads.
        for number in 0..3 {
            devices[0].send(&session, &format!("more-{number}"), "x").await;
        }
        let mut late = desk.connect(last, &customer).await;
        late.join(&session, Some(5)).await;
        assert_eq!(late.event("presence").await["online"], true);
    }
}

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// Connects by Socket.IO with this payload, and returns the client and the server's CONNECT packet.
async fn enter(desk: &Desk, node: usize, auth: &Value) -> (Client, Value) {
    let mut client = try_connect(desk.nodes[node].address, SOCKET, &[]).await.unwrap();
    client.frame(&format!("40{auth}")).await;
    let connected = until(&mut client, "40").await;
    let connected = serde_json::from_str(connected.strip_prefix("40").unwrap()).unwrap();
    (client, connected)
}

/// The next packet that begins with this text.
async fn until(client: &mut Client, beginning: &str) -> String {
    loop {
        let text = client.text().await.expect("the connection ended");
        if text.starts_with(beginning) {
            return text;
        }
    }
}

#[tokio::test]
async fn c8_nor_is_a_client_that_comes_back_to_its_sessions_by_itself() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let doctor = desk.connect(1, &dentist).await;
    let (mut before, connected) = enter(&desk, 0, &json!({ "token": customer.token })).await;
    let join = json!(["session:join", { "sessionId": session }]);
    before.frame(&format!("421{join}")).await;
    let told = until(&mut before, r#"42["session:offset""#).await;
    let told: Value = serde_json::from_str(told.strip_prefix("42").unwrap()).unwrap();
    drop(before);
    let back = json!({ "token": customer.token, "pid": connected["pid"], "offset": told[1] });
    let (mut again, resumed) = enter(&desk, 1, &back).await;
    assert_eq!(resumed["pid"], connected["pid"], "the session is not recovered");
    let presence = r#"42["presence""#;
    let heard = timeout(Duration::from_secs(5), until(&mut again, presence)).await;
    assert!(heard.is_err(), "{heard:?}");
    desk.greet(&dentist, &session).await;
    assert!(until(&mut again, presence).await.contains(r#""online":true"#));
    drop(doctor);
}

/// A new customer in the legacy directory with this first name.
async fn new_customer(legacy: &MysqlDatabase, first_name: &str) -> String {
    let id = unique("sub");
    let row = format!("'{id}', '{first_name}', 'Byron', '{id}@example.test', null");
    legacy.execute(&format!("insert into customers values ({row})")).await;
    id
}

/// Number of directory look-ups with this outcome.
async fn lookups(http: &Http, outcome: &str) -> u64 {
    let metrics = http.get("/metrics").await.text;
    let name = format!("frontdesk_directory_lookups_total{{outcome=\"{outcome}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn c8_guessed_ids_cost_the_directory_no_more_look_ups_than_one_may_open_sessions() {
    let legacy = Servers::get().await.mysql_database();
    let id = new_customer(&legacy, "Mallory").await;
    let port = legacy.port.to_string();
    let env = [&legacy.variables(&port)[..], &[OPENS]].concat();
    let desk = Desk::embedded_with(FRONTDESK, &env).await;
    let mallory = Http::new(desk.nodes[0].address, Some(&desk.issuer.customer(&id)));
    let began = Instant::now();
    let mut unknown = 0;
    for _ in 0..200 {
        let reply = open(&mallory, &unique("guess")).await;
        if reply.status == 404 {
            assert_eq!(reply.body["code"], "person_not_found");
            unknown += 1;
        } else {
            assert!(is_limited(&reply), "{}: {}", reply.status, reply.text);
        }
    }
    let due = 10 + began.elapsed().as_secs() / 6;
    assert!((10..=due).contains(&unknown), "{unknown}");
    assert_eq!(lookups(&mallory, "unknown").await, unknown);
}

/// The visible parts of a response, without those that always differ.
fn seen(reply: &Reply) -> (u16, Value, BTreeMap<String, String>) {
    let mut body = reply.body.clone();
    body["requestId"] = Value::Null;
    let own = ["x-request-id", "date"];
    let headers = reply.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (reply.status, body, headers.collect())
}

#[tokio::test]
async fn c8_whom_one_may_not_talk_to_is_like_one_whom_nobody_knows() {
    let legacy = Servers::get().await.mysql_database();
    let (ada, eve) = (new_customer(&legacy, "Ada").await, new_customer(&legacy, "Eve").await);
    let mysql = Relay::start(legacy.port).await;
    let port = mysql.port.to_string();
    let related = "SELECT 1 FROM customers c JOIN dentists d \
                   WHERE c.cognito_sub = ? AND d.user_id = ? AND c.first_name = 'Ada'";
    let env = [&legacy.variables(&port)[..], &[("MYSQL_MAY_TALK_QUERY", related)]].concat();
    let desk = Desk::embedded_with(FRONTDESK, &env).await;
    let of = |token: &str| Http::new(desk.nodes[0].address, Some(token));
    let (ada_, eve_) = (of(&desk.issuer.customer(&ada)), of(&desk.issuer.customer(&eve)));
    let dana = of(&Issuer::dentist("7"));
    let (forbidden, absent) = (open(&eve_, "7").await, open(&eve_, &unique("nobody")).await);
    assert_eq!(seen(&forbidden), seen(&absent));
    assert_eq!((forbidden.status, &forbidden.body["code"]), (404, &json!("person_not_found")));
    eventually("each cost one look-up", async || {
        (lookups(&eve_, "unknown").await, lookups(&eve_, "found").await) == (2, 0)
    })
    .await;
    // The rule applies to both sides.
    let with = |id: &str| json!({ "customerId": id });
    dana.post("/api/chats", &with(&eve)).await.expect(404);
    open(&ada_, "7").await.expect(201);
    dana.post("/api/chats", &with(&ada)).await.expect(200);
    // While the directory is down no session opens, but existing ones are found.
    mysql.cut();
    let grace = new_customer(&legacy, "Ada").await;
    let refused = open(&of(&desk.issuer.customer(&grace)), "7").await.expect(503);
    assert_eq!(refused["code"], "unavailable");
    open(&ada_, "7").await.expect(200);
}
