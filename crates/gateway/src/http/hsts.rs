//! `Strict-Transport-Security`, for clients that use TLS.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header::STRICT_TRANSPORT_SECURITY},
    middleware::Next,
    response::Response,
};

use crate::Gateway;

/// Header in which a proxy records the scheme of the client's request.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Two years, as recommended for the preload lists of browsers.
const TWO_YEARS: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// Adds the header if a trusted proxy received the request by https.
pub(crate) async fn layer(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let is_trusted = peer.is_some_and(|ConnectInfo(peer)| gateway.limits.trusts(peer.ip()));
    let is_secure = is_trusted && says_https(request.headers());
    let mut response = next.run(request).await;
    if is_secure {
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert(TWO_YEARS);
    }
    response
}

/// With several proxies the first value is the client's own scheme. A client that forges it over http gains
/// nothing: browsers ignore the header there.
fn says_https(headers: &HeaderMap) -> bool {
    let first = headers.get(FORWARDED_PROTO).map(HeaderValue::as_bytes);
    let first = first.and_then(|list| list.split(|byte| *byte == b',').next());
    first.is_some_and(|way| way.trim_ascii().eq_ignore_ascii_case(b"https"))
}
