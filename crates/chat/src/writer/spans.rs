//! Spans of a send: its wait for a batch, and the commit.

use std::time::SystemTime;

use opentelemetry::trace::SpanKind;

use platform::traces::{self, Span, TraceParent};

/// A send that waits for the writer.
#[derive(Debug)]
pub(super) struct Queued {
    parent: TraceParent,
    /// Beginning of the wait, until the send is in a batch.
    since: Option<SystemTime>,
}

impl Queued {
    pub(super) fn now() -> Option<Self> {
        traces::current().map(|parent| Self { parent, since: Some(SystemTime::now()) })
    }

    /// The span that it belongs to.
    pub(super) fn parent(self) -> TraceParent {
        self.parent
    }
}

/// An attempt to commit a batch. A batch belongs to many traces: each of its sampled sends has this as a step
/// of its own.
pub(super) struct Append(Vec<Span>);

impl Append {
    pub(super) fn begin<'a>(sends: impl Iterator<Item = &'a mut Queued>, size: usize) -> Self {
        Self(sends.filter_map(|send| Self::of(send, size)).collect())
    }

    fn of(send: &mut Queued, size: usize) -> Option<Span> {
        if let Some(since) = send.since.take() {
            drop(Span::begin(Some(&send.parent), "queue", SpanKind::Internal, Some(since)));
        }
        let mut span = Span::of(&send.parent, "append", SpanKind::Client)?;
        span.set("db.system.name", traces::systems()?.database);
        span.set("db.operation.name", "append");
        // A single send is no batch.
        if size > 1 {
            span.set("db.operation.batch.size", i64::try_from(size).unwrap_or(i64::MAX));
        }
        Some(span)
    }

    pub(super) fn end(self, failure: Option<&'static str>) {
        let Some(code) = failure else { return };
        for mut span in self.0 {
            span.fail(code);
        }
    }
}
