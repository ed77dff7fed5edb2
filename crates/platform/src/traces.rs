//! Traces: the way of one message over the nodes, one span per hop, exported to a collector by OTLP.
//!
//! Sampling is decided once, where a trace begins. The decision goes along with the trace: on the bus, and
//! with a request that is carried to another node. An unsampled trace has no spans: it costs only a read of a
//! thread-local variable. From untrusted callers only the ids are taken: see [`Asked`].
//!
//! Law I14: spans hold our own words and counts. No id of a person, a session or a message, no body, no path
//! and no query is exported.

pub mod config;
pub mod export;
mod parent;

use std::{borrow::Cow, sync::OnceLock, time::SystemTime};

use axum::http::{HeaderName, Method};
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
use crate::tasks::Tasks;
pub use export::{Exporting, probe_collector};
pub use parent::TraceParent;

/// Header that names a request's parent span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static(parent::NAME);

/// One for the process, as with logs. Unset if no traces are exported.
static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    tracer: SdkTracer,
    sampling: Sampling,
    systems: Systems,
}

/// Names of the systems that a node uses, as OpenTelemetry has them.
#[derive(Clone, Copy, Debug)]
pub struct Systems {
    /// The database.
    pub database: &'static str,
    /// The bus.
    pub messaging: &'static str,
}

/// Starts to export traces, if a collector is configured.
pub fn start(
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

/// Systems behind this node, by OpenTelemetry's names. `None` without traces.
pub fn systems() -> Option<Systems> {
    Some(TRACES.get()?.systems)
}

/// Whether requests are traced at all.
pub fn is_on() -> bool {
    TRACES.get().is_some()
}

#[derive(Clone, Copy, Debug)]
struct Sampling {
    ratio: f64,
    is_parent_based: bool,
}

/// Trace that a request names, and how far it is trusted.
#[derive(Debug)]
pub enum Asked {
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
pub struct Span(sdk::Span);

impl Span {
    /// Begins a span, now or at an earlier time.
    pub fn begin(
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
    pub fn asked(asked: Asked, name: &'static str) -> Option<Self> {
        let told = TRACES.get()?.sampling.decide(asked, rand::random())?;
        Self::begin(told.parent.as_ref(), name, SpanKind::Server, None)
    }

    /// Begins the span of work that has run since then, if it is sampled.
    pub fn sampled_since(since: SystemTime, name: &'static str) -> Option<Self> {
        TRACES.get()?.sampling.decide(Asked::Anyone(None), rand::random())?;
        Self::begin(None, name, SpanKind::Internal, Some(since))
    }

    /// Begins a step of a sampled span.
    pub fn of(parent: &TraceParent, name: &'static str, kind: SpanKind) -> Option<Self> {
        Self::begin(Some(parent), name, kind, None)
    }

    /// The parent for a step of this span.
    pub fn parent(&self) -> TraceParent {
        TraceParent::new(self.0.span_context())
    }

    /// Replaces the name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.0.update_name(name);
    }

    /// Sets an attribute. It holds our own words and counts only (law I14).
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(name, value));
    }

    /// Marks the span as failed, with one of our codes as the reason.
    pub fn fail(&mut self, code: &'static str) {
        self.set("error.type", code);
        self.0.set_status(Status::error(""));
    }

    /// Runs a request within the span: the spans that it causes, and its log lines, belong to it.
    pub fn around<T: 'static, F: Future<Output = T> + Send + 'static>(
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

/// Parent for the spans of the work on this task, if it is sampled.
pub fn current() -> Option<TraceParent> {
    TRACES.get()?;
    Context::map_current(|context| {
        let span = context.span();
        span.span_context().is_sampled().then(|| TraceParent::new(span.span_context()))
    })
}

/// Ids of the trace and the span of a log line.
pub fn ids() -> Option<(String, String)> {
    TRACES.get()?;
    Context::map_current(|context| {
        let span = context.span();
        let ids = span.span_context();
        ids.is_sampled().then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
    })
}

/// Stands for a client's own method name, which must not reach a span.
pub const OTHER_METHOD: &str = "_OTHER";

/// Name of a method of HTTP, or one word for all unknown ones.
pub fn method(method: &Method) -> &'static str {
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
