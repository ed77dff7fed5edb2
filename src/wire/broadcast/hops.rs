//! Spans of a traced broadcast: publish, receive, write.

use super::{Broadcast, Room};
use crate::traces::{self, Heard, Hop, Topic, TraceParent};

impl Broadcast {
    /// Sets the trace that the event belongs to. The default is that of the publishing task.
    pub(crate) fn caused_by(mut self, parent: Option<TraceParent>) -> Self {
        self.hop = parent.map(|parent| Box::new(Hop::Caused(parent)));
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
    pub(crate) fn publish(&mut self) {
        let hop = self.hop.take().map(|hop| *hop).or_else(|| traces::current().map(Hop::Caused));
        let hop = hop.and_then(|hop| hop.publish(self.topic()));
        if let Some(Hop::Publishing(span)) = &hop {
            self.envelope.traceparent = Some(span.parent());
        }
        self.hop = hop.map(Box::new);
    }

    /// Marks the publish as failed: the bus does not carry it.
    pub(crate) fn lost(&mut self, code: &'static str) {
        if let Some(Hop::Publishing(span)) = self.hop.as_deref_mut() {
            span.fail(code);
        }
    }

    /// Starts the delivery span: this node received the event, or backfilled it after the bus lost
    /// it.
    pub(crate) fn hear(&mut self) {
        let parent = match self.hop.take().map(|hop| *hop) {
            Some(Hop::Caused(parent)) => Some(parent),
            _ => self.envelope.traceparent.clone(),
        };
        let parent = parent.filter(TraceParent::is_told);
        self.hop = parent.and_then(|parent| Hop::hear(&parent, self.topic())).map(Box::new);
    }

    /// The delivery span on this node, if it is sampled.
    pub(crate) fn heard(&self) -> Option<&Heard> {
        match self.hop.as_deref() {
            Some(Hop::Heard(heard)) => Some(heard),
            _ => None,
        }
    }
}
