//! Traces: the way of one message over the nodes, a span a hop, told to a collector by OTLP.
//!
//! Whether a trace is told is decided once, where it begins, and goes along with it: on the bus, and with
//! a request that is carried to another node. Of one that is not told no span is made, so that it costs
//! a look at a thread's variable. What others think of is taken from them as a name only: see [`Asked`].
//!
//! Law I14: spans hold our own words and counts. No id of a person, a session or a message, no body, no
//! path and no query is told.

mod export;
mod hop;
mod parent;

use std::{borrow::Cow, net::SocketAddr, sync::OnceLock, time::SystemTime};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode},
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

use crate::{
    config::{Config, TracesConfig},
    http,
    store::StoreError,
};
pub(crate) use export::{Exporting, look_at_collector};
pub(crate) use hop::{Heard, Hop, Topic};
pub(crate) use parent::TraceParent;

/// The header that names a request's parent.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static(parent::NAME);

/// One for the process, as with logs. None where traces are told to nobody.
static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    tracer: SdkTracer,
    sampling: Sampling,
    database_system: &'static str,
    messaging_system: &'static str,
}

/// Begins to tell traces, if there is somebody to tell.
pub(crate) fn start(config: &Config, node: &str) -> anyhow::Result<Option<Exporting>> {
    let Some(traces) = &config.traces else { return Ok(None) };
    let resource = resource(traces, node);
    let (outbox, exporting) = Exporting::start(traces, &resource)?;
    // Which are told is decided before there is a span.
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource)
        .with_span_processor(outbox)
        .build();
    let sampling = Sampling { ratio: traces.ratio, is_parent_based: traces.is_parent_based };
    let started = TRACES.set(Traces {
        tracer: provider.tracer("frontdesk"),
        sampling,
        database_system: if config.postgres.is_some() { "postgresql" } else { "sqlite" },
        messaging_system: if config.redis.is_some() { "redis" } else { "in_process" },
    });
    if started.is_err() {
        anyhow::bail!("traces are told already");
    }
    tracing::info!(collector = traces.collector(), ratio = traces.ratio, "traces are told");
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

/// What a request says of the trace that it belongs to, and how much that counts.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Whoever asks, with the trace that they name: it goes on, and whether it is told we decide. Their
    /// word would let anyone have all of theirs told.
    Anyone(Option<TraceParent>),
    /// One whose word counts.
    Trusted(TraceParent),
    /// Another node has decided.
    Node(Option<TraceParent>),
}

/// It is decided: a trace is told, from here on or from there.
#[derive(Debug, PartialEq)]
struct Told {
    parent: Option<TraceParent>,
}

impl Told {
    fn within(parent: TraceParent) -> Self {
        Self { parent: Some(parent) }
    }
}

impl Sampling {
    /// Whether it is told. `chance` is from 0 to below 1.
    fn decide(self, asked: Asked, chance: f64) -> Option<Told> {
        match asked {
            Asked::Node(parent) => parent.filter(TraceParent::is_told).map(Told::within),
            Asked::Trusted(parent) if self.is_parent_based => {
                parent.is_told().then(|| Told::within(parent))
            }
            Asked::Trusted(parent) => (chance < self.ratio).then(|| Told::within(parent)),
            Asked::Anyone(parent) => (chance < self.ratio).then_some(Told { parent }),
        }
    }
}

/// A hop of a trace that is told. It ends with this value.
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

    /// What is asked for here.
    pub(crate) fn asked(asked: Asked, name: &'static str) -> Option<Self> {
        let told = TRACES.get()?.sampling.decide(asked, rand::random())?;
        Self::begin(told.parent.as_ref(), name, SpanKind::Server, None)
    }

    /// A step of something that is told.
    fn of(parent: &TraceParent, name: &'static str, kind: SpanKind) -> Option<Self> {
        Self::begin(Some(parent), name, kind, None)
    }

    /// Messages that the bus had lost were read since then.
    pub(crate) fn filled(since: SystemTime, messages: usize) -> Option<Self> {
        let traces = TRACES.get()?;
        traces.sampling.decide(Asked::Anyone(None), rand::random())?;
        let mut span = Self::begin(None, "fill", SpanKind::Internal, Some(since))?;
        span.set("db.system.name", traces.database_system);
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

    /// It came to nothing, for a reason that is one of our codes.
    pub(crate) fn fail(&mut self, code: &'static str) {
        self.set("error.type", code);
        self.0.set_status(Status::error(""));
    }

    /// Runs what was asked for within the span: what it causes, and its lines in the log, belong to it.
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

/// What the work under way on this task belongs to, if it is told.
pub(crate) fn current() -> Option<TraceParent> {
    TRACES.get()?;
    Context::map_current(|context| {
        let span = context.span();
        span.span_context().is_sampled().then(|| TraceParent::new(span.span_context()))
    })
}

/// The ids of the trace and the span that a line of the log belongs to.
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
    /// Until it is in a batch.
    since: Option<SystemTime>,
}

impl Queued {
    pub(crate) fn now() -> Option<Self> {
        current().map(|parent| Self { parent, since: Some(SystemTime::now()) })
    }

    /// What it belongs to.
    pub(crate) fn parent(self) -> TraceParent {
        self.parent
    }
}

/// A try to commit a batch. A batch is of many traces: each of its sends that is told has this as a step
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
        span.set("db.system.name", TRACES.get()?.database_system);
        span.set("db.operation.name", "append");
        // One alone is no batch.
        if size > 1 {
            span.set("db.operation.batch.size", count(size));
        }
        Some(span)
    }

    pub(crate) fn end(self, failure: Option<&StoreError>) {
        let code = match failure {
            None => return,
            Some(StoreError::Unavailable(_)) => "unavailable",
            Some(StoreError::Contended(_)) => "contended",
            Some(StoreError::Disk(_)) => "no_disk",
            Some(StoreError::Refused(_)) => "refused",
        };
        for mut span in self.0 {
            span.fail(code);
        }
    }
}

/// Another node goes on with the request. Whatever a client has named there is not for it: it believes
/// us.
pub(crate) fn carry(request: &mut Request, to: SocketAddr) -> Option<Span> {
    request.headers_mut().remove(TRACEPARENT);
    let mut span = Span::of(&current()?, "carry", SpanKind::Client)?;
    span.set("http.request.method", http::traces::method(request.method()));
    span.set("server.address", to.ip().to_string());
    span.set("server.port", i64::from(to.port()));
    let parent = HeaderValue::from_str(&span.parent().to_string()).ok()?;
    request.headers_mut().insert(TRACEPARENT, parent);
    Some(span)
}

/// It has answered so, if it has.
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
        // By chance, whatever they say; the trace is theirs.
        for parent in [None, Some(told.clone()), Some(quiet.clone())] {
            assert_eq!(sampling.decide(Asked::Anyone(parent.clone()), 0.1), None);
            assert_eq!(sampling.decide(Asked::Anyone(parent.clone()), 0.09), Some(Told { parent }));
        }
        // Whose word counts has it kept, unless the sampler says that nobody's does.
        let by = |is_parent_based, parent: &TraceParent, chance| {
            Sampling { is_parent_based, ..sampling }.decide(Asked::Trusted(parent.clone()), chance)
        };
        assert_eq!(by(true, &told, 0.9), Some(Told::within(told.clone())));
        assert_eq!(by(true, &quiet, 0.0), None);
        assert_eq!(by(false, &told, 0.9), None);
        // Another node's decision stands: no word is one too.
        for is_parent_based in [true, false] {
            let sampling = Sampling { is_parent_based, ..sampling };
            let by_node = |parent: Option<&TraceParent>, chance| {
                sampling.decide(Asked::Node(parent.cloned()), chance)
            };
            assert_eq!(by_node(Some(&told), 0.9), Some(Told::within(told.clone())));
            assert_eq!(by_node(Some(&quiet), 0.0), None);
            assert_eq!(by_node(None, 0.0), None);
        }
    }
}
