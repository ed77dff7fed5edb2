//! Errors as RFC 9457 problems.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;

/// Error of a request (RFC 9457).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem<'a> {
    r#type: &'static str,
    /// Status in words.
    title: &'a str,
    status: u16,
    /// Explanation for people; not to be parsed. For `invalid_request` it begins with the name of the invalid
    /// part.
    detail: String,
    /// Error code for programs.
    code: &'static str,
    /// Same value as in `X-Request-Id`.
    request_id: &'a str,
}

/// The response carries the error itself. A layer writes the body, because it knows the request's id.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The response to a request with this id.
pub fn problem(error: &Error, request_id: &str) -> Response {
    let status = error.status();
    let body = serde_json::to_vec(&Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: error.to_string(),
        code: error.code(),
        request_id,
    });
    let content_type = HeaderValue::from_static("application/problem+json");
    let mut response =
        (status, [(header::CONTENT_TYPE, content_type)], body.unwrap_or_default()).into_response();
    if let Some(after) = error.retry_after() {
        let secs = after.as_millis().div_ceil(1_000).max(1);
        let secs = u32::try_from(secs).unwrap_or(u32::MAX);
        response.headers_mut().insert(header::RETRY_AFTER, secs.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
