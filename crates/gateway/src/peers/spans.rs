//! Spans of a request that is carried to another node.

use std::net::SocketAddr;

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode},
};
use opentelemetry::trace::SpanKind;

use platform::traces::{self, Span, TRACEPARENT, method};

/// Begins the span of a request that is carried to another node. A client's own `traceparent` is removed,
/// because the other node trusts this one.
pub(super) fn carry(request: &mut Request, to: SocketAddr) -> Option<Span> {
    request.headers_mut().remove(TRACEPARENT);
    let mut span = Span::of(&traces::current()?, "carry", SpanKind::Client)?;
    span.set("http.request.method", method(request.method()));
    span.set("server.address", to.ip().to_string());
    span.set("server.port", i64::from(to.port()));
    let parent = HeaderValue::from_str(&span.parent().to_string()).ok()?;
    request.headers_mut().insert(TRACEPARENT, parent);
    Some(span)
}

/// Ends the span of a carried request, with the status of the answer if there is one.
pub(super) fn carried(span: Option<Span>, status: Option<StatusCode>) {
    match (span, status) {
        (Some(mut span), Some(status)) => {
            span.set("http.response.status_code", i64::from(status.as_u16()));
        }
        (Some(mut span), None) => span.fail("unreachable"),
        (None, _) => {}
    }
}
