//! A collector of traces for OTLP over HTTP, which misbehaves on command.

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

/// API key that the collector requires.
const KEY: &str = "collector-key-that-only-the-tests-know";

/// Response of the collector to an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// Accepts the spans.
    Well,
    /// Fails with 503.
    Refusing,
    /// Sends no response until the setting changes.
    Hanging,
}

/// A received span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Trace id, in hexadecimal.
    pub trace: String,
    /// Span id, in hexadecimal.
    pub id: String,
    /// Id of the parent span; empty for a root span.
    pub parent: String,
    /// Name of the span.
    pub name: String,
    /// Name of the node that sent the span.
    pub node: String,
    /// Attributes of the span and of its resource, the node.
    pub attributes: BTreeMap<String, String>,
    /// Whether the span has the status Error.
    pub failed: bool,
    /// Start and end, in nanoseconds since 1970.
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
    /// Bodies of the accepted requests, in order of arrival.
    told: Mutex<Vec<Bytes>>,
    asked: watch::Sender<usize>,
}

impl Collector {
    /// Starts the collector.
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

    /// Variables of a node that exports to this collector and samples every trace.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.address)),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("api-key={KEY}")),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned()),
        ]
    }

    /// Variables with an endpoint where nothing listens.
    #[must_use]
    pub fn nowhere() -> [(&'static str, String); 2] {
        let nobody = format!("http://127.0.0.1:{}", free_port());
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", nobody),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned()),
        ]
    }

    /// API key that nodes send; it must not appear anywhere else.
    #[must_use]
    pub fn key(&self) -> &'static str {
        KEY
    }

    /// Sets the response to later requests; hanging requests get it too.
    pub fn be(&self, taking: Taking) {
        self.heap.taking.send_replace(taking);
    }

    /// Waits for one more request.
    pub async fn is_asked(&self) {
        let mut asked = self.heap.asked.subscribe();
        let before = *asked.borrow_and_update();
        eventually("the collector receives a request", async || *asked.borrow() > before).await;
    }

    /// Bodies of all accepted requests.
    #[must_use]
    pub fn bytes(&self) -> Vec<Bytes> {
        self.heap.told.lock().unwrap().clone()
    }

    /// All received spans.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.bytes().into_iter();
        let requests = requests.map(|bytes| ExportTraceServiceRequest::decode(bytes).unwrap());
        requests.flat_map(|request| request.resource_spans).flat_map(spans_of).collect()
    }

    /// Spans of one trace, as soon as there are this many.
    pub async fn trace(&self, trace: &str, many: usize) -> Vec<Span> {
        let of_trace = || {
            let spans = self.spans().into_iter();
            spans.filter(|span| span.trace == trace).collect::<Vec<_>>()
        };
        eventually("the spans of the trace arrive", async || of_trace().len() >= many).await;
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
