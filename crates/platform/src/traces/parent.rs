//! Parent of a span, as sent from node to node: a W3C `traceparent`.

use std::{fmt, str::FromStr};

use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt, TraceState},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use serde::{Deserializer, Serialize, Serializer};

use crate::json::lenient;

/// A span of this node, of another node, or of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(SpanContext);

/// Error for a text that names no span.
#[derive(Debug, thiserror::Error)]
#[error("not a traceparent")]
pub struct NotATraceParent;

impl TraceParent {
    /// Without a `tracestate`, because it would be exported with each span, and callers write it.
    pub(super) fn new(context: &SpanContext) -> Self {
        Self(SpanContext::new(
            context.trace_id(),
            context.span_id(),
            context.trace_flags(),
            context.is_remote(),
            TraceState::NONE,
        ))
    }

    /// Whether it is sampled. Then its children are sampled too.
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    pub(super) fn context(&self) -> Context {
        Context::new().with_remote_span_context(self.0.clone())
    }

    /// An invalid value in an envelope counts as none: the rest of the envelope is used all the same.
    pub fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let text: Option<String> = lenient(from)?;
        Ok(text.and_then(|text| text.parse().ok()))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.0.trace_flags().to_u8();
        write!(out, "00-{}-{}-{flags:02x}", self.0.trace_id(), self.0.span_id())
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let context =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Only(text));
        let span = context.span();
        let named = span.span_context();
        if named.is_valid() { Ok(Self::new(named)) } else { Err(NotATraceParent) }
    }
}

/// Name in every carrier.
pub(super) const NAME: &str = "traceparent";

/// A carrier with this `traceparent` only.
struct Only<'a>(&'a str);

impl Extractor for Only<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == NAME).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![NAME]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_as_it_is_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = text.parse().unwrap();
        assert!(parent.is_sampled());
        assert_eq!(parent.to_string(), text);
        let quiet: TraceParent = text.replace("-01", "-00").parse().unwrap();
        assert!(!quiet.is_sampled());
        let none = "00-00000000000000000000000000000000-0000000000000000-01";
        for wrong in ["", "00", none, &text[3..], "00-x-y-01"] {
            assert!(wrong.parse::<TraceParent>().is_err(), "{wrong}");
        }
    }
}
