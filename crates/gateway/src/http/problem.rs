//! Errors as RFC 9457 problems, request ids, and the one log line of each request.

use std::{sync::Arc, time::Instant};

use crate::Gateway;
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::Next,
    response::Response,
};
use platform::new_id;
use protocol::{error::Error, problem::problem};

/// Header of the request id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Id of a request, for handlers that need it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub String);

/// Gives the request its id, writes errors as problems, and logs one line. The line has the route, but never
/// the values in the path or the query, which may hold a token.
pub(crate) async fn layer(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        error.log_cause();
        let headers = std::mem::take(response.headers_mut());
        response = problem(&error, &id);
        response.headers_mut().extend(headers);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let (counts, name) = (&gateway.counts.http, platform::traces::method(&method));
    counts.answered(route, name, response.status(), started.elapsed());
    let status = response.status().as_u16();
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    // Probes and polls come every second, and a flood of requests must not flood the log.
    let quiet = route.starts_with("/health")
        || route.starts_with("/socket.io")
        || response.status() == StatusCode::TOO_MANY_REQUESTS;
    if response.status().is_server_error() && !quiet {
        tracing::warn!(request_id = %id, %method, route, status, micros, "request");
    } else if quiet {
        tracing::debug!(request_id = %id, %method, route, status, micros, "request");
    } else {
        tracing::info!(request_id = %id, %method, route, status, micros, "request");
    }
    response
}

/// The client's own id, if it is short and plain (it is logged), or a new one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let plain = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    given.filter(plain).map_or_else(|| new_id().to_string(), str::to_owned)
}
