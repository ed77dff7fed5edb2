//! Traces: the way of one message over the nodes, one span per hop, exported to a collector by OTLP.
//!
//! Sampling is decided once, where a trace begins. The decision goes along with the trace: on the bus, and
//! with a request that is carried to another node. An unsampled trace has no spans: it costs only a read of a
//! thread-local variable. From untrusted callers only the ids are taken: see [`Asked`].
//!
//! Law I14: spans hold our own words and counts. No id of a person, a session or a message, no body, no path
//! and no query is exported.

mod bus_span;
pub(crate) mod config;
pub(crate) mod export;
mod parent;

use std::{borrow::Cow, net::SocketAddr, sync::OnceLock, time::SystemTime};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use opentelemetry::{
    Context, KeyValue, Value,
    context::FutureExt as _,
    trace::{Span as _, SpanKind, SpanRef, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::{
    Resource,
    resource::TelemetryResourceDetector,
    trace::{self as sdk, Sampler, SdkTracer, SdkTracerProvider},
};

use self::config::TracesConfig;
use crate::platform::tasks::Tasks;
pub(crate) use bus_span::{BusSpan, DeliverySpan, Topic};
pub(crate) use export::{Exporting, probe_collector};
pub(crate) use parent::TraceParent;

/// Header that names a request's parent span.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static(parent::NAME);

/// One for the process, as with logs. Unset if no traces are exported.
static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    tracer: SdkTracer,
    sampling: Sampling,
    systems: Systems,
}

/// Names of the systems that a node uses, as OpenTelemetry has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Systems {
    pub(crate) database: &'static str,
    pub(crate) messaging: &'static str,
}

/// Starts to export traces, if a collector is configured.
pub(crate) fn start(
    config: Option<&TracesConfig>,
    systems: Systems,
    node: &str,
    tasks: &Tasks,
) -> anyhow::Result<Option<Exporting>> {
    let Some(traces) = config else { return Ok(None) };
    let resource = resource(traces, node);
    let (outbox, exporting) = Exporting::start(traces, &resource, tasks)?;
    // Sampling is decided before there is a span.
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource)
        .with_span_processor(outbox)
        .build();
    let sampling = Sampling { ratio: traces.ratio, is_parent_based: traces.is_parent_based };
    let started = TRACES.set(Traces { tracer: provider.tracer("frontdesk"), sampling, systems });
    if started.is_err() {
        anyhow::bail!("trace export is already started");
    }
    tracing::info!(collector = traces.collector(), ratio = traces.ratio, "trace export started");
    Ok(Some(exporting))
}

fn resource(traces: &TracesConfig, node: &str) -> Resource {
    let told = traces.resource.iter();
    let told = told.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node.to_owned()),
        ])
        .with_attributes(told)
        .with_service_name(traces.service_name.clone())
        .build()
}

/// Whether requests are traced at all.
pub(crate) fn is_on() -> bool {
    TRACES.get().is_some()
}

#[derive(Clone, Copy, Debug)]
struct Sampling {
    ratio: f64,
    is_parent_based: bool,
}

/// Trace that a request names, and how far it is trusted.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Untrusted caller: keep its trace id, make our own sampling decision. Otherwise anyone could have all
    /// of their traces exported.
    Anyone(Option<TraceParent>),
    /// Trusted caller.
    Trusted(TraceParent),
    /// Another node has decided.
    Node(Option<TraceParent>),
}

/// Decision to sample a trace, with the parent of its next span.
#[derive(Debug, PartialEq)]
struct Sampled {
    parent: Option<TraceParent>,
}

impl Sampled {
    fn within(parent: TraceParent) -> Self {
        Self { parent: Some(parent) }
    }
}

impl Sampling {
    /// Decides on sampling. `chance` is from 0 to below 1.
    fn decide(self, asked: Asked, chance: f64) -> Option<Sampled> {
        match asked {
            Asked::Node(parent) => parent.filter(TraceParent::is_sampled).map(Sampled::within),
            Asked::Trusted(parent) if self.is_parent_based => {
                parent.is_sampled().then(|| Sampled::within(parent))
            }
            Asked::Trusted(parent) => (chance < self.ratio).then(|| Sampled::within(parent)),
            Asked::Anyone(parent) => (chance < self.ratio).then_some(Sampled { parent }),
        }
    }
}

/// A hop of a sampled trace. It ends with this value.
#[derive(Debug)]
pub(crate) struct Span(sdk::Span);

impl Span {
    fn begin(
        parent: Option<&TraceParent>,
        name: &'static str,
        kind: SpanKind,
        since: Option<SystemTime>,
    ) -> Option<Self> {
        let tracer = &TRACES.get()?.tracer;
        let mut builder = tracer.span_builder(name).with_kind(kind);
        builder.start_time = since;
        let context = parent.map_or_else(Context::new, TraceParent::context);
        Some(Self(builder.start_with_context(tracer, &context)))
    }

    /// Begins the span of a request to this node, if it is sampled.
    pub(crate) fn asked(asked: Asked, name: &'static str) -> Option<Self> {
        let told = TRACES.get()?.sampling.decide(asked, rand::random())?;
        Self::begin(told.parent.as_ref(), name, SpanKind::Server, None)
    }

    /// Begins a step of a sampled span.
    fn of(parent: &TraceParent, name: &'static str, kind: SpanKind) -> Option<Self> {
        Self::begin(Some(parent), name, kind, None)
    }

    /// Begins the span of a backfill that has run since then, if it is sampled.
    pub(crate) fn filled(since: SystemTime, messages: usize) -> Option<Self> {
        let traces = TRACES.get()?;
        traces.sampling.decide(Asked::Anyone(None), rand::random())?;
        let mut span = Self::begin(None, "fill", SpanKind::Internal, Some(since))?;
        span.set("db.system.name", traces.systems.database);
        span.set("frontdesk.messages", count(messages));
        Some(span)
    }

    pub(crate) fn parent(&self) -> TraceParent {
        TraceParent::new(self.0.span_context())
    }

    pub(crate) fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.0.update_name(name);
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(name, value));
    }

    /// Marks the span as failed, with one of our codes as the reason.
    pub(crate) fn fail(&mut self, code: &'static str) {
        self.set("error.type", code);
        self.0.set_status(Status::error(""));
    }

    /// Runs a request within the span: the spans that it causes, and its log lines, belong to it.
    pub(crate) fn around<T: 'static, F: Future<Output = T> + Send + 'static>(
        self,
        start: impl FnOnce() -> F,
        end: fn(&SpanRef<'_>, &T),
    ) -> BoxFuture<'static, T> {
        let context = Context::new().with_span(self.0);
        let running = {
            let _within = context.clone().attach();
            start()
        };
        async move {
            let outcome = running.with_context(context.clone()).await;
            end(&context.span(), &outcome);
            outcome
        }
        .boxed()
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Parent for the spans of the work on this task, if it is sampled.
pub(crate) fn current() -> Option<TraceParent> {
    TRACES.get()?;
    Context::map_current(|context| {
        let span = context.span();
        span.span_context().is_sampled().then(|| TraceParent::new(span.span_context()))
    })
}

/// Ids of the trace and the span of a log line.
pub(crate) fn ids() -> Option<(String, String)> {
    TRACES.get()?;
    Context::map_current(|context| {
        let span = context.span();
        let ids = span.span_context();
        ids.is_sampled().then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
    })
}

/// A send that waits for the writer.
#[derive(Debug)]
pub(crate) struct Queued {
    parent: TraceParent,
    /// Beginning of the wait, until the send is in a batch.
    since: Option<SystemTime>,
}

impl Queued {
    pub(crate) fn now() -> Option<Self> {
        current().map(|parent| Self { parent, since: Some(SystemTime::now()) })
    }

    /// The span that it belongs to.
    pub(crate) fn parent(self) -> TraceParent {
        self.parent
    }
}

/// An attempt to commit a batch. A batch belongs to many traces: each of its sampled sends has this as a step
/// of its own.
pub(crate) struct Append(Vec<Span>);

impl Append {
    pub(crate) fn begin<'a>(sends: impl Iterator<Item = &'a mut Queued>, size: usize) -> Self {
        Self(sends.filter_map(|send| Self::of(send, size)).collect())
    }

    fn of(send: &mut Queued, size: usize) -> Option<Span> {
        if let Some(since) = send.since.take() {
            drop(Span::begin(Some(&send.parent), "queue", SpanKind::Internal, Some(since)));
        }
        let mut span = Span::of(&send.parent, "append", SpanKind::Client)?;
        span.set("db.system.name", TRACES.get()?.systems.database);
        span.set("db.operation.name", "append");
        // A single send is no batch.
        if size > 1 {
            span.set("db.operation.batch.size", count(size));
        }
        Some(span)
    }

    pub(crate) fn end(self, failure: Option<&'static str>) {
        let Some(code) = failure else { return };
        for mut span in self.0 {
            span.fail(code);
        }
    }
}

/// Stands for a client's own method name, which must not reach a span.
pub(crate) const OTHER_METHOD: &str = "_OTHER";

pub(crate) fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER_METHOD,
    }
}

/// Begins the span of a request that is carried to another node. A client's own `traceparent` is removed,
/// because the other node trusts this one.
pub(crate) fn carry(request: &mut Request, to: SocketAddr) -> Option<Span> {
    request.headers_mut().remove(TRACEPARENT);
    let mut span = Span::of(&current()?, "carry", SpanKind::Client)?;
    span.set("http.request.method", method(request.method()));
    span.set("server.address", to.ip().to_string());
    span.set("server.port", i64::from(to.port()));
    let parent = HeaderValue::from_str(&span.parent().to_string()).ok()?;
    request.headers_mut().insert(TRACEPARENT, parent);
    Some(span)
}

/// Ends the span of a carried request, with the status of the answer if there is one.
pub(crate) fn carried(span: Option<Span>, status: Option<StatusCode>) {
    match (span, status) {
        (Some(mut span), Some(status)) => {
            span.set("http.response.status_code", i64::from(status.as_u16()));
        }
        (Some(mut span), None) => span.fail("unreachable"),
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_of_theirs_told_by_saying_so() {
        let told: TraceParent =
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        let quiet: TraceParent =
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".parse().unwrap();
        let sampling = Sampling { ratio: 0.1, is_parent_based: true };
        // Untrusted: by chance, whatever the caller's flag is. The trace id is the caller's.
        for parent in [None, Some(told.clone()), Some(quiet.clone())] {
            assert_eq!(sampling.decide(Asked::Anyone(parent.clone()), 0.1), None);
            assert_eq!(
                sampling.decide(Asked::Anyone(parent.clone()), 0.09),
                Some(Sampled { parent })
            );
        }
        // Trusted: by the caller's flag, unless the sampler ignores all flags.
        let by = |is_parent_based, parent: &TraceParent, chance| {
            Sampling { is_parent_based, ..sampling }.decide(Asked::Trusted(parent.clone()), chance)
        };
        assert_eq!(by(true, &told, 0.9), Some(Sampled::within(told.clone())));
        assert_eq!(by(true, &quiet, 0.0), None);
        assert_eq!(by(false, &told, 0.9), None);
        // Another node's decision stands. No parent is a decision too.
        for is_parent_based in [true, false] {
            let sampling = Sampling { is_parent_based, ..sampling };
            let by_node = |parent: Option<&TraceParent>, chance| {
                sampling.decide(Asked::Node(parent.cloned()), chance)
            };
            assert_eq!(by_node(Some(&told), 0.9), Some(Sampled::within(told.clone())));
            assert_eq!(by_node(Some(&quiet), 0.0), None);
            assert_eq!(by_node(None, 0.0), None);
        }
    }
}
