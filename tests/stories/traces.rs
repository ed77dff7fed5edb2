//! Traces of a message over the nodes, as a collector receives them.

use std::time::{Duration, Instant};

use frontdesk_test_support::{
    Client, Collector, Desk, Framing, Http, Node, Redis, Servers, Span, Taking, eventually,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::FRONTDESK;

const BODY: &str = "my-tooth-hurts-and-nobody-may-know";
const POST: &str = "POST /api/chats/{id}/messages";
const PUBLISH: &str = "publish frontdesk:session:{id}";
const DELIVER: &str = "deliver frontdesk:session:{id}";

/// The trusted tracer, which decides on sampling, and the trusted proxy, which names the client's
/// address.
const ASKING: [(&str, &str); 2] =
    [("TRUSTED_PROXIES", "127.0.0.1"), ("TRUSTED_TRACERS", "203.0.113.7")];
const TRUSTED: &str = "203.0.113.7";
const STRANGER: &str = "198.51.100.1";

/// Two nodes that export to this collector, with additional variables.
async fn two_nodes(collector: &Collector, more: &[(&str, &str)]) -> Desk {
    let redis_port = Servers::get().await.redis_port;
    let told = collector.variables();
    let told = told.iter().map(|(name, value)| (*name, value.as_str()));
    let env: Vec<_> = told.chain(more.iter().copied()).collect();
    Desk::cluster_with(FRONTDESK, 2, redis_port, &env).await
}

fn log_line(node: &Node, message: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
    let lines = node.log().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    lines.into_iter().find(|line| line["message"] == message && fits(line))
}

/// Name of a node in its spans.
fn name(node: &Node) -> String {
    log_line(node, "listening", |_| true).unwrap()["node"].as_str().unwrap().to_owned()
}

/// Trace id and `traceparent` of this number, sampled or not.
fn parent(number: u8, told: bool) -> (String, String) {
    let trace = format!("4bf92f3577b34da6a3ce929d0e0e47{number:02x}");
    let text = format!("00-{trace}-00f067aa0ba902b7-{:02x}", u8::from(told));
    (trace, text)
}

#[track_caller]
fn only<'a>(spans: &'a [Span], name: &str, node: &str) -> &'a Span {
    let mut fitting = spans.iter().filter(|span| span.name == name && span.node == node);
    let span = fitting.next().unwrap_or_else(|| panic!("no {name} on {node}: {spans:#?}"));
    assert_eq!(fitting.next(), None, "one {name} on {node}");
    span
}

/// Checks the spans of a message from the request `first` on one node to the socket on the other.
fn is_the_way_of_a_message<'a>(spans: &'a [Span], first: &str, desk: &Desk) -> &'a Span {
    let (near, far) = (name(&desk.nodes[0]), name(&desk.nodes[1]));
    let first = only(spans, first, &near);
    let queue = only(spans, "queue", &near);
    let append = only(spans, "append", &near);
    let publish = only(spans, PUBLISH, &near);
    let deliver = only(spans, DELIVER, &far);
    let write = only(spans, "write", &far);
    for (span, of) in
        [(queue, first), (append, first), (publish, first), (deliver, publish), (write, deliver)]
    {
        assert_eq!((&span.trace, &span.parent), (&first.trace, &of.id), "{span:?}");
        assert!(span.time.0 >= first.time.0 && span.time.1 >= span.time.0 && !span.failed);
    }
    assert!(queue.time.1 <= append.time.1 && append.time.1 <= publish.time.1);
    assert_eq!(append.attributes["db.system.name"], "postgresql");
    assert_eq!(publish.attributes["messaging.system"], "redis");
    assert_eq!(deliver.attributes["messaging.operation.type"], "process");
    assert_eq!(deliver.attributes["frontdesk.event"], "message:new");
    assert_eq!(write.attributes["frontdesk.connections"], "1");
    assert_eq!(write.attributes["service.name"], "frontdesk");
    first
}

async fn send(http: &Http, session: &str, key: &str, headers: &[(&str, &str)]) {
    let path = format!("/api/chats/{session}/messages");
    let text = json!({ "clientId": key, "kind": "text", "body": BODY });
    http.send(Method::POST, &path, Some(text.to_string()), headers).await.expect(201);
}

#[tokio::test]
async fn a_message_by_http_is_one_trace_over_both_nodes() {
    let collector = Collector::start().await;
    let mut desk = two_nodes(&collector, &ASKING).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    let (trace, traceparent) = parent(1, true);
    send(&desk.http(0, &customer), &session, "1", &[("traceparent", &traceparent)]).await;
    assert_eq!(doctor.message().await["body"], BODY);

    let spans = collector.trace(&trace, 6).await;
    let first = is_the_way_of_a_message(&spans, POST, &desk);
    assert_eq!((spans.len(), first.parent.as_str()), (6, "00f067aa0ba902b7"));
    assert_eq!(first.attributes["http.response.status_code"], "201");
    let line = log_line(&desk.nodes[0], "request", |line| line["trace_id"] == *trace).unwrap();
    assert_eq!((&line["route"], &line["span_id"]), (&json!(&POST[5..]), &json!(first.id)));

    // The last spans are exported before the node ends.
    let (trace, traceparent) = parent(2, true);
    send(&desk.http(0, &customer), &session, "2", &[("traceparent", &traceparent)]).await;
    desk.nodes[0].terminate();
    assert!(desk.nodes[0].exit().await.success());
    let told = collector.spans().into_iter().filter(|span| span.trace == trace);
    assert!(told.count() >= 4, "the node ended without exporting its spans");
}

#[tokio::test]
async fn a_message_by_socket_is_one_trace_over_both_nodes() {
    let collector = Collector::start().await;
    let desk = two_nodes(&collector, &[]).await;
    for (framing, told) in [(Framing::Native, "native"), (Framing::SocketIo, "socketio")] {
        let (customer, dentist, session) = desk.pair().await;
        let mut patient = desk.connect_by(framing, 0, &customer).await;
        let mut doctor = desk.connect_by(framing, 1, &dentist).await;
        for client in [&mut patient, &mut doctor] {
            client.join(&session, None).await;
        }
        patient.send(&session, "1", BODY).await;
        doctor.message().await;
        let of_framing = |span: &Span| {
            span.name == "message:send" && span.attributes["frontdesk.framing"] == told
        };
        eventually("the span of the send is exported", async || {
            collector.spans().iter().any(of_framing)
        })
        .await;
        let spans = collector.spans();
        let trace = spans.iter().find(|span| of_framing(span)).unwrap().trace.clone();
        let spans = collector.trace(&trace, 7).await;
        let first = is_the_way_of_a_message(&spans, "message:send", &desk);
        assert_eq!((spans.len(), first.parent.as_str()), (7, ""), "the send begins its trace");
        // The sender's node received the message from the bus too, but had no other connection to write
        // it to.
        only(&spans, DELIVER, &name(&desk.nodes[0]));
    }
}

/// Sends a message with a `traceparent` as the client of this address.
async fn ask(http: &Http, session: &str, address: &str, (trace, text): &(String, String)) {
    let headers = [("x-forwarded-for", address), ("traceparent", text)];
    send(http, session, &format!("{address}-{}", &trace[28..]), &headers).await;
}

async fn carried(desk: &Desk, address: &str, text: &str) {
    let poll = "/socket.io/?EIO=4&transport=polling";
    let open = Http::new(desk.nodes[1].address, None).get(poll).await;
    let open: Value = serde_json::from_str(open.text.strip_prefix('0').unwrap()).unwrap();
    let path = format!("{poll}&sid={}", open["sid"].as_str().unwrap());
    let near = Http::new(desk.nodes[0].address, None);
    let headers =
        [("content-type", "text/plain"), ("x-forwarded-for", address), ("traceparent", text)];
    eventually("the nodes know each other", async || {
        near.send(Method::POST, &path, Some("3".into()), &headers).await.text == "ok"
    })
    .await;
}

#[tokio::test]
async fn what_is_traced_is_decided_once_and_not_by_strangers() {
    let collector = Collector::start().await;
    let off = [("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
    let desk = two_nodes(&collector, &[&ASKING[..], &off].concat()).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    let http = desk.http(0, &customer);
    let (forged, quiet, told) = (parent(1, true), parent(2, false), parent(3, true));
    ask(&http, &session, STRANGER, &forged).await;
    ask(&http, &session, TRUSTED, &quiet).await;
    let (forged_to, told_to) = (parent(4, true), parent(5, true));
    carried(&desk, STRANGER, &forged_to.1).await;
    carried(&desk, TRUSTED, &told_to.1).await;
    ask(&http, &session, TRUSTED, &told).await;
    for _ in 0..3 {
        doctor.message().await;
    }
    // A node exports its spans in order, so earlier ones would have arrived.
    is_the_way_of_a_message(&collector.trace(&told.0, 6).await, POST, &desk);
    let spans = collector.trace(&told_to.0, 3).await;
    let (near, far) = (name(&desk.nodes[0]), name(&desk.nodes[1]));
    let polls = [&near, &far].map(|node| only(&spans, "POST /socket.io/", node));
    let carry = only(&spans, "carry", &near);
    assert_eq!((&carry.parent, &polls[1].parent), (&polls[0].id, &carry.id));
    let traces = collector.spans().into_iter().map(|span| span.trace);
    let others: Vec<_> = traces.filter(|trace| ![&told.0, &told_to.0].contains(&trace)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test]
async fn i12_what_another_node_says_of_a_trace_or_does_not_is_heard() {
    let (collector, redis) = (Collector::start().await, Redis::start().await);
    let told = collector.variables();
    let told = told.iter().map(|(name, value)| (*name, value.as_str()));
    // The test publishes in place of another node, without a signature.
    let told: Vec<_> = told.chain([("CLUSTER_ACCEPT_UNSIGNED", "true")]).collect();
    let desk = Desk::cluster_with(FRONTDESK, 1, redis.port, &told).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut doctor = desk.connect(0, &dentist).await;
    doctor.join(&session, None).await;
    let (trace, text) = parent(1, true);
    let old = json!({ "v": 1, "event": "typing", "data": { "n": 0 } });
    let mut envelopes = vec![old.clone()];
    for (n, told) in [json!(7), json!("nonsense"), json!(["x"]), json!(null), json!(text)]
        .into_iter()
        .enumerate()
    {
        let mut envelope = old.clone();
        envelope["traceparent"] = told;
        envelope["data"]["n"] = json!(n + 1);
        envelopes.push(envelope);
    }
    for envelope in &envelopes {
        let quoted = serde_json::to_string(&envelope.to_string()).unwrap();
        let heard = redis.command(&format!("PUBLISH frontdesk:session:{session} {quoted}")).await;
        assert_eq!(heard.trim(), ":1");
        assert_eq!(doctor.event("typing").await["n"], envelope["data"]["n"]);
    }
    let spans = collector.trace(&trace, 2).await;
    assert_eq!(only(&spans, DELIVER, &name(&desk.nodes[0])).parent, "00f067aa0ba902b7");

    // A message that the bus never carried is found by the head check, in a trace of its own.
    let database = desk.database.as_ref().unwrap().client().await;
    let quietly = "with numbered as (
            update sessions set last_seq = last_seq + 1 where id = $1::text::uuid returning last_seq
        ) insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, body,
            created_at)
        select $1::text::uuid, last_seq, gen_random_uuid(), 'customer', $2, 'k', 'text', 'x', now()
        from numbered";
    database.execute(quietly, &[&session, &customer.id]).await.unwrap();
    assert_eq!(doctor.message().await["seq"], 1);
    let is_fill = |span: &Span| span.name == "fill";
    eventually("the span of the backfill is exported", async || {
        collector.spans().iter().any(is_fill)
    })
    .await;
    let spans = collector.spans();
    let fill = spans.iter().find(|span| is_fill(span)).unwrap();
    assert_eq!((&*fill.parent, &*fill.attributes["frontdesk.messages"]), ("", "1"));
    let spans = collector.trace(&fill.trace, 3).await;
    assert_eq!(only(&spans, DELIVER, &fill.node).parent, fill.id);
}

/// Requests that succeed and fail, with a private text in every part. Returns the private texts.
async fn live(desk: &Desk) -> Vec<String> {
    let (customer, dentist, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    let state = [("tracestate", "who=my-tooth-hurts"), ("baggage", "body=my-tooth-hurts")];
    let (_, traceparent) = parent(1, true);
    let headers = [&state[..], &[("traceparent", &traceparent)]].concat();
    let mut doctor = desk.connect(1, &dentist).await;
    let mut patient = desk.connect_by(Framing::SocketIo, 0, &customer).await;
    doctor.join(&session, None).await;
    patient.join(&session, None).await;
    send(&http, &session, "1", &headers).await;
    let message = doctor.message().await;
    let message_id = message["id"].as_str().unwrap();
    let of_message = json!({ "sessionId": session, "messageId": message_id, "body": BODY });
    patient.request("message:edit", of_message.clone()).await.unwrap();
    doctor.request("message:edit", of_message).await.unwrap_err();
    doctor.request("message:read", json!({ "sessionId": session, "seq": 1 })).await.unwrap();
    patient.request("auth:refresh", json!({ "token": [BODY] })).await.unwrap_err();
    patient.request("auth:refresh", json!({ "token": customer.token })).await.unwrap();
    patient.request(BODY, json!({ "body": BODY })).await.unwrap_err();
    for path in [
        format!("/{BODY}?token={}", customer.token),
        format!("/api/chats/{session}/messages/{message_id}/reactions/{BODY}"),
        format!("/api/chats/search?q={BODY}"),
        format!("/api/chats/{BODY}"),
    ] {
        for method in [Method::GET, Method::PUT, Method::from_bytes(b"PATIENT").unwrap()] {
            http.send(method, &path, None, &headers).await;
        }
    }
    let ids = [&customer.id, &dentist.id, &session, &message_id.to_owned()];
    let tokens = [&customer.token, &dentist.token].map(|token| token.rsplit('.').next().unwrap());
    let private = ids.into_iter().map(String::as_str).chain(tokens);
    private.chain([BODY, "my-tooth", "PATIENT", "token=", "Patient"]).map(str::to_owned).collect()
}

#[tokio::test]
async fn i14_nothing_private_is_in_any_span() {
    let collector = Collector::start().await;
    let desk = two_nodes(&collector, &[("LOG_LEVEL", "trace")]).await;
    let private = live(&desk).await;
    for heard in ["message:edit", "message:read", "auth:refresh", "HTTP", "GET /api/chats/search"] {
        let is_told = || collector.spans().iter().any(|span| span.name == heard);
        eventually(heard, async || is_told()).await;
    }
    for told in collector.bytes() {
        // The raw bytes contain also names and values that the test does not know.
        let text = String::from_utf8_lossy(&told);
        assert!(text.contains("service.instance.id"));
        let found = private.iter().find(|private| text.contains(private.as_str()));
        assert_eq!(found, None, "{text}");
    }
    for node in desk.nodes {
        node.is_unharmed(&[BODY, collector.key()]).await;
    }
}

/// Sends many messages, up to 16 of them unacknowledged.
async fn flood(sender: &mut Client, session: &str, many: usize) {
    let mut waiting = std::collections::VecDeque::new();
    for number in 0..many {
        let key = format!("flood-{number}");
        let text = json!({ "sessionId": session, "clientId": key, "kind": "text", "body": "x" });
        waiting.push_back(sender.ask("message:send", &text).await);
        if waiting.len() == 16 {
            sender.answer(waiting.pop_front().unwrap()).await.unwrap();
        }
    }
    for id in waiting {
        sender.answer(id).await.unwrap();
    }
}

fn count(node: &Node, message: &str) -> usize {
    node.log().iter().filter(|line| line.contains(message)).count()
}

#[tokio::test]
async fn a_collector_that_hangs_costs_no_message() {
    let collector = Collector::start().await;
    let mut desk = two_nodes(&collector, &[]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    collector.be(Taking::Hanging);
    collector.is_asked().await;
    // More spans than fit into the queue of a node.
    let many = 2_500;
    let heard = async {
        for seq in 1..=many {
            assert_eq!(doctor.message().await["seq"], seq);
        }
    };
    timeout(Duration::from_secs(60), async {
        tokio::join!(flood(&mut patient, &session, many), heard)
    })
    .await
    .expect("messages wait for the collector");
    assert_eq!(count(&desk.nodes[0], "spans lost"), 1, "the loss is logged once");
    // The collector recovers: the number of lost spans is logged, and new spans are exported.
    collector.be(Taking::Well);
    eventually("the number of lost spans is logged", async || {
        count(&desk.nodes[0], "span loss ended") == 1
    })
    .await;
    patient.send(&session, "told", BODY).await;
    let (trace, traceparent) = parent(9, true);
    send(&desk.http(0, &customer), &session, "again", &[("traceparent", &traceparent)]).await;
    collector.trace(&trace, 4).await;
    // The collector hangs while the node ends, which waits only briefly.
    collector.be(Taking::Hanging);
    patient.send(&session, "last", BODY).await;
    let began = Instant::now();
    desk.nodes[0].terminate();
    assert!(desk.nodes[0].exit().await.success());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_collector_that_refuses_or_is_not_there_costs_no_message() {
    let collector = Collector::start().await;
    let mut desk = two_nodes(&collector, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")]).await;
    let lonely = desk.nodes[0].another(&Collector::nowhere()).await;
    desk.nodes.push(lonely);
    let (customer, dentist, session) = desk.pair().await;
    collector.be(Taking::Refusing);
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    for node in [0, 2] {
        for n in 0..10 {
            let http = desk.http(node, &customer);
            send(&http, &session, &format!("{node}-{n}"), &[]).await;
            timeout(Duration::from_secs(5), doctor.message()).await.expect("the message is late");
        }
        let node = &mut desk.nodes[node];
        eventually("the loss is logged", async || count(node, "spans lost") == 1).await;
        let began = Instant::now();
        node.terminate();
        assert!(node.exit().await.success());
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        assert_eq!(count(node, "spans lost"), 1, "the loss is logged once");
    }
}
