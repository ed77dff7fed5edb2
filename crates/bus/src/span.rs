//! Spans of a broadcast: of its publishing, and of its delivery on each node that receives it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::SpanKind;
use rooms::Published;

use platform::traces::{self, Span, TraceParent};

/// Stage of a broadcast, with the span of that stage.
#[derive(Debug)]
pub(crate) enum BusSpan {
    /// Not published yet: the span that caused it.
    Caused(TraceParent),
    Publishing(Span),
    Delivering(DeliverySpan),
}

/// Topic of a span on the bus: the kinds of the room and of the event, no name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic<'a> {
    pub channels: &'static str,
    pub event: &'a str,
}

impl BusSpan {
    /// Begins the span of the publishing.
    pub(crate) fn publish(self, topic: Topic<'_>) -> Option<Self> {
        let Self::Caused(parent) = self else { return Some(self) };
        let span = on_bus("publish", "send", SpanKind::Producer, &parent, topic)?;
        Some(Self::Publishing(span))
    }

    /// Begins the span of a delivery. It ends when the last of this node's sockets has the broadcast.
    pub(crate) fn deliver(parent: &TraceParent, topic: Topic<'_>) -> Option<Self> {
        let span = on_bus("deliver", "process", SpanKind::Consumer, parent, topic)?;
        Some(Self::Delivering(DeliverySpan(Mutex::new(Stage::Delivering(span)))))
    }
}

fn on_bus(
    verb: &'static str,
    kind_of_operation: &'static str,
    kind: SpanKind,
    parent: &TraceParent,
    Topic { channels, event }: Topic<'_>,
) -> Option<Span> {
    let system = traces::systems()?.messaging;
    let mut span = Span::of(parent, verb, kind)?;
    span.rename(format!("{verb} {channels}"));
    span.set("messaging.system", system);
    span.set("messaging.operation.name", verb);
    span.set("messaging.operation.type", kind_of_operation);
    span.set("messaging.destination.template", channels);
    span.set("frontdesk.event", event.to_owned());
    Some(span)
}

/// A delivery on this node: from the bus to its turn in the room, and from there to the last socket.
#[derive(Debug)]
pub struct DeliverySpan(Mutex<Stage>);

#[derive(Debug)]
enum Stage {
    Delivering(Span),
    Writing { span: Span, connections: i64 },
    Ended,
}

impl DeliverySpan {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the outcome in the room.
    pub fn published(&self, published: Published) {
        let outcome = match published {
            // The span of writing shows the connections.
            Published::Delivered => return,
            Published::Early => "early",
            Published::Known => "known",
            Published::NoRoom => "no_room",
        };
        if let Stage::Delivering(span) = &mut *self.stage() {
            span.set("frontdesk.outcome", outcome);
        }
    }

    /// Counts one more connection whose queue has the broadcast.
    pub fn enqueued(&self) {
        let mut stage = self.stage();
        if let Stage::Writing { connections, .. } = &mut *stage {
            *connections += 1;
            return;
        }
        if let Stage::Delivering(span) = std::mem::replace(&mut *stage, Stage::Ended)
            && let Some(span) = Span::of(&span.parent(), "write", SpanKind::Internal)
        {
            *stage = Stage::Writing { span, connections: 1 };
        }
    }
}

impl Drop for DeliverySpan {
    fn drop(&mut self) {
        if let Stage::Writing { span, connections } = &mut *self.stage() {
            span.set("frontdesk.connections", *connections);
        }
    }
}
