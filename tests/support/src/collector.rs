//! A collector of traces that takes OTLP over HTTP, and misbehaves on command.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{self as otlp, ResourceSpans},
};
use prost::Message;
use tokio::sync::watch;

use crate::{eventually, free_port};

/// The key that it wants to see.
const KEY: &str = "collector-key-that-only-the-tests-know";

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// As it should.
    Well,
    /// With 503.
    Refusing,
    /// Not at all, until that changes.
    Hanging,
}

/// A span, as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace's id, in hexadecimal.
    pub trace: String,
    /// Its own.
    pub id: String,
    /// That of the span that it belongs to; empty where it is the first.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// The name of the node that told it.
    pub node: String,
    /// What else is said of it, and of the node that told it.
    pub attributes: BTreeMap<String, String>,
    /// Whether it failed.
    pub failed: bool,
    /// When it began and ended, in nanoseconds since 1970.
    pub time: (u64, u64),
}

/// The collector.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    heap: Arc<Heap>,
}

#[derive(Debug)]
struct Heap {
    taking: watch::Sender<Taking>,
    /// What was told, as it came.
    told: Mutex<Vec<Bytes>>,
    asked: watch::Sender<usize>,
}

impl Collector {
    /// Starts it.
    pub async fn start() -> Self {
        let heap = Arc::new(Heap {
            taking: watch::Sender::new(Taking::Well),
            told: Mutex::default(),
            asked: watch::Sender::new(0),
        });
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&heap));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, heap }
    }

    /// What a node is told to use it, and to tell it everything.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.address)),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("api-key={KEY}")),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned()),
        ]
    }

    /// The same, where nobody listens.
    #[must_use]
    pub fn nowhere() -> [(&'static str, String); 2] {
        let nobody = format!("http://127.0.0.1:{}", free_port());
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", nobody),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned()),
        ]
    }

    /// The key that nodes show it, which nobody else may see.
    #[must_use]
    pub fn key(&self) -> &'static str {
        KEY
    }

    /// From here on it answers so; whatever hangs is answered so too.
    pub fn be(&self, taking: Taking) {
        self.heap.taking.send_replace(taking);
    }

    /// Waits until it is asked once more.
    pub async fn is_asked(&self) {
        let mut asked = self.heap.asked.subscribe();
        let before = *asked.borrow_and_update();
        eventually("the collector is asked", async || *asked.borrow() > before).await;
    }

    /// Everything that it was told, as it came.
    #[must_use]
    pub fn bytes(&self) -> Vec<Bytes> {
        self.heap.told.lock().unwrap().clone()
    }

    /// Every span so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.bytes().into_iter();
        let requests = requests.map(|bytes| ExportTraceServiceRequest::decode(bytes).unwrap());
        requests.flat_map(|request| request.resource_spans).flat_map(spans_of).collect()
    }

    /// The spans of one trace, once they are as many.
    pub async fn trace(&self, trace: &str, many: usize) -> Vec<Span> {
        let of_trace = || {
            let spans = self.spans().into_iter();
            spans.filter(|span| span.trace == trace).collect::<Vec<_>>()
        };
        eventually("the trace is told", async || of_trace().len() >= many).await;
        of_trace()
    }
}

async fn take(State(heap): State<Arc<Heap>>, headers: HeaderMap, body: Bytes) -> Response {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if value("api-key") != Some(KEY) {
        return StatusCode::FORBIDDEN.into_response();
    }
    assert_eq!(value("content-type"), Some("application/x-protobuf"));
    let mut taking = *heap.taking.borrow();
    heap.asked.send_modify(|asked| *asked += 1);
    if taking == Taking::Hanging {
        let mut changes = heap.taking.subscribe();
        taking = *changes.wait_for(|taking| *taking != Taking::Hanging).await.unwrap();
    }
    if taking == Taking::Refusing {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    heap.told.lock().unwrap().push(body);
    ([(header::CONTENT_TYPE, "application/x-protobuf")], Bytes::new()).into_response()
}

fn spans_of(told: ResourceSpans) -> Vec<Span> {
    let node = attributes(&told.resource.unwrap().attributes);
    let spans = told.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(|span| read(span, &node)).collect()
}

fn read(span: otlp::Span, node: &BTreeMap<String, String>) -> Span {
    let mut attributes = attributes(&span.attributes);
    attributes.extend(node.clone());
    let failed = otlp::status::StatusCode::Error as i32;
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        node: node["service.instance.id"].clone(),
        attributes,
        failed: span.status.is_some_and(|status| status.code == failed),
        time: (span.start_time_unix_nano, span.end_time_unix_nano),
    }
}

fn attributes(told: &[KeyValue]) -> BTreeMap<String, String> {
    told.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
