//! Pushes: an absent user gets exactly one push for a message, whatever the push service or a node
//! does.

use std::time::{Duration, Instant};

use frontdesk_test_support::{
    Desk, Http, Mood, OneSignal, Person, Push, Servers, StockClient, eventually,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::FRONTDESK;

const BODY: &str = "my-tooth-hurts-and-nobody-may-know";

/// Two nodes that push through this service.
async fn two_nodes(service: &OneSignal, env: &[(&str, &str)]) -> Desk {
    let env = [&service.variables(), env].concat();
    Desk::cluster_with(FRONTDESK, 2, Servers::get().await.redis_port, &env).await
}

async fn say(http: &Http, session: &str, key: &str, body: &str) -> Value {
    let text = json!({ "clientId": key, "kind": "text", "body": body });
    http.post(&format!("/api/chats/{session}/messages"), &text).await.expect(201)
}

async fn pushes(service: &OneSignal, to: &Person, count: usize) -> Vec<Push> {
    eventually("the push", async || service.made_to(&to.id).len() >= count).await;
    let made = service.made_to(&to.id);
    assert_eq!(made.len(), count, "{made:#?}");
    made
}

/// State and error of the remaining jobs.
async fn jobs(desk: &Desk) -> Vec<(String, Option<String>)> {
    let database = desk.database.as_ref().unwrap().client().await;
    let rows = database
        .query("select state, error from jobs where queue = 'pushes' order by number", &[])
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Waits until every job is finished.
async fn all_settled(desk: &Desk) {
    eventually("every job is finished", async || jobs(desk).await.is_empty()).await;
}

#[tokio::test]
async fn a_member_who_is_away_gets_one_push_for_a_burst_and_it_gives_nothing_away() {
    let service = OneSignal::start().await;
    let desk = two_nodes(&service, &[]).await;
    let (customer, dentist, session) = desk.pair().await;
    let nodes = [desk.http(0, &customer), desk.http(1, &customer)];
    for number in 0..6 {
        say(&nodes[number % 2], &session, &number.to_string(), BODY).await;
    }
    let push = pushes(&service, &dentist, 1).await.remove(0);
    all_settled(&desk).await;
    assert_eq!((push.title(), push.text()), ("New message", "Open the app to read it."));
    assert_eq!(push.asked["data"], json!({ "sessionId": session }));
    assert_eq!(push.asked["collapse_id"], session, "the next push replaces it");
    assert!(!push.asked.to_string().contains(BODY) && !push.asked.to_string().contains("Patient"));
    // The next burst is another push, and the sender gets none.
    say(&nodes[0], &session, "later", BODY).await;
    pushes(&service, &dentist, 2).await;
    all_settled(&desk).await;
    assert!(service.made_to(&customer.id).is_empty());
}

#[tokio::test]
async fn what_was_written_is_shown_where_the_operator_wants_it() {
    let service = OneSignal::start().await;
    let env = [("PUSH_SHOW_TEXT", "true"), ("PUSH_TITLE", "{name} writes")];
    let desk = two_nodes(&service, &env).await;
    let (customer, dentist, session) = desk.pair().await;
    say(&desk.http(0, &customer), &session, "k", "see you at {name}").await;
    let push = pushes(&service, &dentist, 1).await.remove(0);
    assert_eq!((push.title(), push.text()), ("Patient writes", "see you at {name}"));
}

#[tokio::test]
async fn an_id_has_the_operators_prefix_and_one_that_onesignal_does_not_know_is_counted() {
    let service = OneSignal::start().await;
    let desk = two_nodes(&service, &[("PUSH_ID_PREFIX", "user:")]).await;
    let (customer, dentist, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    say(&http, &session, "k", BODY).await;
    let prefixed = format!("user:{}", dentist.id);
    eventually("the push", async || service.made_to(&prefixed).len() == 1).await;
    all_settled(&desk).await;

    let unknown = r#"{"id":"","errors":{"invalid_aliases":{"external_id":["user:x"]}}}"#;
    service.be(Mood::Talking(unknown));
    say(&http, &session, "k2", BODY).await;
    eventually("the service receives the request", async || service.asked().len() == 2).await;
    all_settled(&desk).await;
    let mut counted = 0.0;
    let mut warned = 0;
    for node in 0..2 {
        let metrics = desk.http(node, &customer).get("/metrics").await.text;
        let series = r#"frontdesk_push_attempts_total{outcome="invalid_alias"} "#;
        let line = metrics.lines().find_map(|line| line.strip_prefix(series));
        counted += line.unwrap().parse::<f64>().unwrap();
        let log = desk.nodes[node].log();
        warned += log.iter().filter(|line| line.contains("PUSH_ID_PREFIX")).count();
    }
    assert_eq!((counted, warned), (1.0, 1));
}

/// Short intervals, so that a dead connection is detected soon.
const PINGS: [(&str, &str); 2] = [("PING_INTERVAL_MS", "700"), ("PING_TIMEOUT_MS", "700")];

#[tokio::test]
async fn whoever_is_connected_has_muted_or_has_read_gets_no_push() {
    let service = OneSignal::start().await;
    let desk = two_nodes(&service, &PINGS).await;
    let (customer, connected, to_connected) = desk.pair().await;
    let (muted, reader, away) = (desk.dentist(), desk.dentist(), desk.dentist());
    let to_muted = desk.session(&customer, &muted).await;
    let to_reader = desk.session(&customer, &reader).await;
    let to_away = desk.session(&customer, &away).await;
    // The client is connected to a node without joining the session; its app shows the message by
    // itself.
    let mut client = desk.connect(1, &connected).await;
    let listening = tokio::spawn(async move { client.closed().await });
    let (path, mute) = (format!("/api/chats/{to_muted}"), json!({ "muted": true }).to_string());
    desk.http(1, &muted).send(Method::PATCH, &path, Some(mute), &[]).await.expect(200);

    let http = desk.http(0, &customer);
    say(&http, &to_reader, "k", BODY).await;
    let read = format!("/api/chats/{to_reader}/read");
    desk.http(1, &reader).post(&read, &json!({ "seq": 1 })).await.expect(200);
    for session in [&to_connected, &to_muted, &to_away] {
        say(&http, session, "k", BODY).await;
    }
    pushes(&service, &away, 1).await;
    all_settled(&desk).await;
    assert_eq!(service.asked().len(), 1, "{:#?}", service.asked());
    // After the disconnection the user gets pushes.
    listening.abort();
    let mut number = 0;
    eventually("a push", async || {
        number += 1;
        say(&http, &to_connected, &number.to_string(), BODY).await;
        all_settled(&desk).await;
        !service.made_to(&connected.id).is_empty()
    })
    .await;
}

#[tokio::test]
async fn f22_whoever_vanishes_without_a_word_gets_the_push_when_that_is_known() {
    let service = OneSignal::start().await;
    let desk = two_nodes(&service, &PINGS).await;
    let (customer, dentist, session) = desk.pair().await;
    // The client reads no more, and so answers no ping.
    let _vanished = desk.connect(1, &dentist).await;
    say(&desk.http(0, &customer), &session, "k", BODY).await;
    let said = Instant::now();
    let put_off = [("taken".to_owned(), Some("connected".to_owned()))];
    eventually("the user counts as connected", async || jobs(&desk).await == put_off).await;
    pushes(&service, &dentist, 1).await;
    assert!(said.elapsed() < SOON, "{:?}", said.elapsed());
    all_settled(&desk).await;
}

/// Shorter than the delay before a node checks a job again without a hint.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn whoever_has_just_gone_gets_the_push_when_that_is_known() {
    let service = OneSignal::start().await;
    let desk = two_nodes(&service, &PINGS).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut client = desk.connect(1, &dentist).await;
    client.socket.close(None).await.unwrap();
    client.closed().await;
    // Other users still see the user online: a phone that reconnects within 5 s was not away.
    say(&desk.http(0, &customer), &session, "k", BODY).await;
    let said = Instant::now();
    pushes(&service, &dentist, 1).await;
    assert!(said.elapsed() < SOON, "{:?}", said.elapsed());
    all_settled(&desk).await;
}

#[tokio::test]
async fn f22_a_phone_that_sleeps_has_not_had_its_message_and_gets_the_push_soon() {
    let service = OneSignal::start().await;
    let pings = [("PING_INTERVAL_MS", "2000"), ("PING_TIMEOUT_MS", "2000")];
    let desk = two_nodes(&service, &pings).await;
    let ways = ["native", "websocket", "polling"];
    futures_util::future::join_all(ways.map(|carrier| a_phone_sleeps(&desk, &service, carrier)))
        .await;
    all_settled(&desk).await;
}

async fn a_phone_sleeps(desk: &Desk, service: &OneSignal, carrier: &str) {
    let (customer, dentist, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    let path = format!("/api/chats/{session}");
    let delivered = async || http.get(&path).await.expect(200)["otherDeliveredSeq"].take();
    let mut phone = StockClient::javascript_listening(&json!({
        "url": desk.nodes[1].url(""), "carrier": carrier, "token": dentist.token, "session": session,
    }))
    .await;
    phone.reaches("joined").await;
    say(&http, &session, "1", BODY).await;
    phone.reaches("1").await;
    eventually("the message is delivered", async || delivered().await == 1).await;
    phone.sleep();
    say(&http, &session, "2", BODY).await;
    let said = Instant::now();
    pushes(service, &dentist, 1).await;
    assert!(said.elapsed() < SOON, "{carrier}: {:?}", said.elapsed());
    assert_eq!(delivered().await, 1, "{carrier}: the kernel received it, but not the app");
    phone.wake();
    phone.reaches("2").await;
    eventually("the message is delivered", async || delivered().await == 2).await;
}

#[tokio::test]
async fn f20_a_push_service_that_hangs_slows_no_send_and_gets_its_push_when_it_recovers() {
    let service = OneSignal::start().await;
    let desk = two_nodes(&service, &[]).await;
    let (customer, dentist, session) = desk.pair().await;
    service.be(Mood::Hanging);
    let mut patient = desk.connect(0, &customer).await;
    for number in 0..30 {
        let started = Instant::now();
        patient.send(&session, &format!("a-{number}"), BODY).await;
        assert!(started.elapsed() < Duration::from_secs(1), "the send waits for the push service");
    }
    eventually("a push hangs", async || !service.asked().is_empty()).await;
    // More than the number of pushes that a node makes at a time.
    let others: Vec<_> = (0..40).map(|_| desk.dentist()).collect();
    for other in &others {
        let session = desk.session(&customer, other).await;
        let started = Instant::now();
        patient.send(&session, "k", BODY).await;
        assert!(started.elapsed() < Duration::from_secs(1), "the send waits for the push service");
    }
    let timed_out = |job: &(_, Option<String>)| job.1.as_deref() == Some("timeout");
    eventually("a time-out", async || jobs(&desk).await.iter().any(timed_out)).await;
    service.be(Mood::Well);
    for person in others.iter().chain([&dentist]) {
        eventually("the push", async || !service.made_to(&person.id).is_empty()).await;
    }
    all_settled(&desk).await;
    for other in &others {
        assert_eq!(service.made_to(&other.id).len(), 1);
    }
}

#[tokio::test]
async fn f20_a_push_is_tried_again_and_made_once_whatever_the_service_answers() {
    let service = OneSignal::start().await;
    let desk = two_nodes(&service, &[]).await;
    let (customer, dentist, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    let moods = [
        Mood::Failing(500),
        Mood::Talking("<html>not now</html>"),
        Mood::Talking("{}"),
        Mood::Forgetful,
    ];
    for (at, mood) in moods.into_iter().enumerate() {
        let before = service.asked().len();
        service.be(mood);
        say(&http, &session, &at.to_string(), BODY).await;
        eventually("an attempt", async || service.asked().len() > before).await;
        eventually("the job is rescheduled", async || {
            jobs(&desk).await.iter().any(|(_, error)| error.is_some())
        })
        .await;
        service.be(Mood::Well);
        all_settled(&desk).await;
        let attempts = &service.asked()[before..];
        assert!(attempts.len() >= 2, "{attempts:#?}");
        assert!(
            attempts.iter().all(|attempt| attempt == &attempts[0]),
            "every attempt is the same request"
        );
        pushes(&service, &dentist, at + 1).await;
    }
}

#[tokio::test]
async fn f20_a_service_that_asks_for_time_is_given_it() {
    let service = OneSignal::start().await;
    let desk = Desk::embedded_with(FRONTDESK, &service.variables()).await;
    let (customer, dentist, session) = desk.pair().await;
    let other = desk.dentist();
    let to_other = desk.session(&customer, &other).await;
    let http = desk.http(0, &customer);
    service.be(Mood::Busy(3));
    say(&http, &session, "k", BODY).await;
    eventually("an attempt", async || !service.asked().is_empty()).await;
    let asked = Instant::now();
    service.be(Mood::Well);
    say(&http, &to_other, "k", BODY).await;
    for person in [&dentist, &other] {
        pushes(&service, person, 1).await;
        let waited = asked.elapsed();
        assert!(waited > Duration::from_millis(2_500), "{waited:?}");
    }
}

#[tokio::test]
async fn f1_f20_a_node_that_is_killed_after_the_commit_loses_no_push() {
    let service = OneSignal::start().await;
    let mut desk = two_nodes(&service, &[("PUSH_DELAY_MS", "1000")]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    patient.send(&session, "k", BODY).await;
    desk.nodes[0].kill().await;
    assert!(service.asked().is_empty(), "the push came before it was due");
    let push = pushes(&service, &dentist, 1).await.remove(0);
    assert_eq!(push.asked["data"]["sessionId"], session);
    all_settled(&desk).await;
}

#[tokio::test]
async fn f3_a_node_that_drains_finishes_its_pushes_and_leaves_the_others() {
    let service = OneSignal::start().await;
    let mut desk = Desk::embedded_with(FRONTDESK, &service.variables()).await;
    let (customer, dentist, session) = desk.pair().await;
    service.be(Mood::Hanging);
    say(&desk.http(0, &customer), &session, "k", BODY).await;
    eventually("an attempt", async || !service.asked().is_empty()).await;
    desk.nodes[0].terminate();
    eventually("the node drains", async || {
        desk.nodes[0].log().iter().any(|line| line.contains("draining"))
    })
    .await;
    service.be(Mood::Well);
    assert!(desk.nodes[0].exit().await.success());
    pushes(&service, &dentist, 1).await;
    // The queue is in the database, so the last push is made after the restart.
    desk.nodes[0].restart().await;
    say(&desk.http(0, &customer), &session, "k2", BODY).await;
    desk.nodes[0].restart().await;
    pushes(&service, &dentist, 2).await;
}

#[tokio::test]
async fn f20_i14_what_is_refused_for_good_is_given_up_and_nothing_private_is_logged() {
    let service = OneSignal::start().await;
    let env = [("PUSH_SHOW_TEXT", "true"), ("LOG_LEVEL", "trace")];
    let desk = two_nodes(&service, &env).await;
    let (customer, dentist, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    // The service quotes the request in its error.
    service.be(Mood::Failing(400));
    say(&http, &session, "k", BODY).await;
    let dead = vec![("dead".to_owned(), Some("http_400".to_owned()))];
    eventually("the job is dead", async || jobs(&desk).await == dead).await;
    assert_eq!(service.asked().len(), 1, "no second attempt");
    assert!(service.asked()[0].to_string().contains(BODY), "the request had the text");
    service.be(Mood::Failing(503));
    say(&http, &session, "k2", BODY).await;
    eventually("an attempt", async || service.asked().len() >= 2).await;
    service.be(Mood::Well);
    pushes(&service, &dentist, 1).await;
    eventually("the other job is finished", async || jobs(&desk).await == dead).await;
    // The metrics show the dead job, and the outcome of the attempts.
    let (mut made, mut given_up) = (0, 0);
    for node in 0..2 {
        let asked = [("accept", "application/openmetrics-text;version=1.0.0")];
        let http = desk.http(node, &dentist);
        let metrics = http.send(Method::GET, "/metrics", None, &asked).await;
        assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
        let value = |name: &str| {
            let line = metrics.text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |value| value.trim().parse::<u64>().unwrap())
        };
        assert_eq!(value(r#"frontdesk_push_jobs{state="dead"}"#), 1, "{}", metrics.text);
        made += value(r#"frontdesk_push_attempts_total{outcome="made"}"#);
        given_up += value(r#"frontdesk_push_attempts_total{outcome="given_up"}"#);
        assert!(!metrics.text.contains(&dentist.id) && metrics.text.ends_with("# EOF\n"));
    }
    assert_eq!((made, given_up), (1, 1));

    let key = service.variables()[1].1;
    let log: Vec<String> = desk.nodes.iter().flat_map(frontdesk_test_support::Node::log).collect();
    assert_eq!(log.iter().filter(|line| line.contains("job given up")).count(), 1);
    for line in log {
        assert!(!line.contains(BODY) && !line.contains(key), "it is logged: {line}");
    }
}
