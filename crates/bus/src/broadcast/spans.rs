//! Spans of a traced broadcast: publish, receive, write.

use super::{Broadcast, Room};
use crate::span::{BusSpan, DeliverySpan, Topic};
use platform::traces::{self, TraceParent};

impl Broadcast {
    /// Sets the trace that the event belongs to. The default is that of the publishing task.
    pub fn caused_by(mut self, parent: Option<TraceParent>) -> Self {
        self.span = parent.map(|parent| Box::new(BusSpan::Caused(parent)));
        self
    }

    fn topic(&self) -> Topic<'_> {
        let channels = match self.room {
            Room::Session(_) => "frontdesk:session:{id}",
            Room::User(_) => "frontdesk:user:{person}",
        };
        Topic { channels, event: &self.envelope.event }
    }

    /// Starts the span of the publish. It ends when the broadcast is dropped or received.
    pub fn publish(&mut self) {
        let span =
            self.span.take().map(|span| *span).or_else(|| traces::current().map(BusSpan::Caused));
        let span = span.and_then(|span| span.publish(self.topic()));
        if let Some(BusSpan::Publishing(span)) = &span {
            self.envelope.traceparent = Some(span.parent());
        }
        self.span = span.map(Box::new);
    }

    /// Marks the publish as failed: the bus does not carry it.
    pub fn lost(&mut self, code: &'static str) {
        if let Some(BusSpan::Publishing(span)) = self.span.as_deref_mut() {
            span.fail(code);
        }
    }

    /// Starts the delivery span: this node received the event, or backfilled it after the bus lost
    /// it.
    pub fn begin_delivery(&mut self) {
        let parent = match self.span.take().map(|span| *span) {
            Some(BusSpan::Caused(parent)) => Some(parent),
            _ => self.envelope.traceparent.clone(),
        };
        let parent = parent.filter(TraceParent::is_sampled);
        self.span = parent.and_then(|parent| BusSpan::deliver(&parent, self.topic())).map(Box::new);
    }

    /// The delivery span on this node, if it is sampled.
    pub fn delivery_span(&self) -> Option<&DeliverySpan> {
        match self.span.as_deref() {
            Some(BusSpan::Delivering(span)) => Some(span),
            _ => None,
        }
    }
}
