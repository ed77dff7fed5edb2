//! The span of a request. It begins before the head is examined, and ends with the answer's head.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use opentelemetry::{
    KeyValue,
    trace::{SpanRef, Status},
};

use crate::{Gateway, limits::address::is_trusted, peers::Carried};
use platform::traces::{self, Asked, Span, TRACEPARENT, TraceParent};

pub(crate) async fn layer(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    if route.is_some_and(|route| is_routine(route, request.method())) {
        return next.run(request).await;
    }
    let method = traces::method(request.method());
    let name = if method == traces::OTHER_METHOD { "HTTP" } else { method };
    let Some(mut span) = Span::asked(asked(&gateway, &request), name) else {
        return next.run(request).await;
    };
    span.set("http.request.method", method);
    if let Some(route) = route {
        span.rename(format!("{method} {route}"));
        span.set("http.route", route.to_owned());
    }
    span.around(|| next.run(request), answered).await
}

/// Probes and scrapes carry no information, and a poll takes as long as there is no event.
fn is_routine(route: &str, method: &Method) -> bool {
    let is_poll = method == Method::GET && route.starts_with("/socket.io");
    is_poll || route.starts_with("/health") || route == "/metrics"
}

fn answered(span: &SpanRef<'_>, response: &Response) {
    let status = response.status();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
        span.set_status(Status::error(""));
    }
}

fn asked(gateway: &Gateway, request: &Request) -> Asked {
    let named = named(request.headers());
    if request.extensions().get::<Carried>().is_some() {
        return Asked::Node(named);
    }
    match named {
        Some(parent) if has_a_say(gateway, request) => Asked::Trusted(parent),
        named => Asked::Anyone(named),
    }
}

/// Trace named by the request, if there is exactly one and it is valid.
fn named(headers: &HeaderMap) -> Option<TraceParent> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let only = all.next().filter(|_| all.next().is_none());
    only.map(HeaderValue::to_str)?.ok()?.parse().ok()
}

/// Whether the request comes from or through a trusted network, so that its sampling decision counts.
fn has_a_say(gateway: &Gateway, request: &Request) -> bool {
    let trusted = &gateway.config.trusted_tracers;
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    !trusted.is_empty()
        && peer.is_some_and(|ConnectInfo(peer)| {
            let client = gateway.limits.address(peer.ip(), request.headers());
            is_trusted(peer.ip(), trusted) || is_trusted(client.ip(), trusted)
        })
}
