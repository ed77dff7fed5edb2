//! The part of a node's answer that the client receives: only what Engine.IO has, so that nothing else
//! appears on the chat's origin.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
};

/// Headers kept of an answer, and of one that opens a WebSocket.
const KEPT: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::VARY,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
];
const KEPT_OF_UPGRADE: [HeaderName; 4] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_PROTOCOL,
];
/// Content types of packets and of errors.
const TYPES: [&str; 3] = ["text/plain", "application/json", "application/problem+json"];

/// The answer as the client receives it; `None` if Engine.IO has no such answer.
pub(super) fn relayed(method: &Method, mut response: Response) -> Option<Response> {
    let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !is_upgrade && !is_of_engineio(method, response.headers()) {
        return None;
    }
    let kept: &[HeaderName] = if is_upgrade { &KEPT_OF_UPGRADE } else { &KEPT };
    let mut all = std::mem::take(response.headers_mut());
    for name in kept {
        if let Some(value) = all.remove(name) {
            response.headers_mut().insert(name, value);
        }
    }
    Some(response)
}

fn is_of_engineio(method: &Method, headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes);
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return length == Some(b"0") };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    // The reference server answers a POST with `ok` in HTML.
    let is_ok = kind == "text/html" && method == Method::POST && length == Some(b"2");
    is_ok || TYPES.contains(&kind)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn c14_of_a_carried_answer_only_what_engineio_has_reaches_the_client() {
        let html = |body: &'static str| {
            let length = body.len().to_string();
            let headers = [("content-type", "text/html"), ("content-length", &length)];
            (headers, body).into_response()
        };
        let relayed = |method, response| relayed(&method, response);
        assert!(relayed(Method::POST, html("ok")).is_some());
        assert!(relayed(Method::GET, html("ok")).is_none());
        assert!(relayed(Method::POST, html("<script>")).is_none());
        let script = [("content-type", "application/javascript")];
        assert!(relayed(Method::GET, (script, "x").into_response()).is_none());
        let cookie = [("set-cookie", "a=b"), ("x-other", "c"), ("retry-after", "1")];
        let packets = relayed(Method::GET, (cookie, "6").into_response()).unwrap();
        let names: Vec<_> = packets.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "retry-after"]);
        let upgrade = [("upgrade", "websocket"), ("connection", "upgrade"), ("set-cookie", "a=b")];
        let upgrade = (StatusCode::SWITCHING_PROTOCOLS, upgrade).into_response();
        assert_eq!(relayed(Method::GET, upgrade).unwrap().headers().len(), 2);
    }
}
