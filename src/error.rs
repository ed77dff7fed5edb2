//! Errors of a request, and the table of their codes and statuses.
//!
//! An error answers one request, and its connection stays open. Connections end with a
//! [`crate::wire::CloseCode`].

use std::{borrow::Cow, time::Duration};

use axum::http::StatusCode;
use serde::Serialize;
use strum::{EnumIter, IntoEnumIterator};
use utoipa::ToSchema;

use crate::{
    auth::AuthError,
    directory::DirectoryError,
    images::ImagesError,
    message::amend::Unamendable,
    store::{StoreError, search::TooCostly, uploads::Declined},
};

/// Retry delay for a client with too many connections.
const SLOTS_RETRY: Duration = Duration::from_secs(10);

/// Reason why a request failed.
#[derive(Clone, Debug, thiserror::Error, EnumIter)]
pub(crate) enum Error {
    /// A field that is missing or out of its limits: its name and the problem.
    #[error("{0}: {1}")]
    Invalid(Cow<'static, str>, String),
    #[error("the request has no token")]
    TokenMissing,
    #[error("the token is not valid: {0}")]
    TokenInvalid(&'static str),
    #[error("the token has expired")]
    TokenExpired,
    #[error("the token's issuer can't be reached; try again soon")]
    IssuerUnavailable,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("this person is blocked")]
    Blocked,
    #[error("you can't block yourself")]
    BlocksItself,
    #[error("this origin is not allowed")]
    OriginRefused,
    #[error("there is no such session")]
    SessionNotFound,
    #[error("there is no such message in this session")]
    MessageNotFound,
    #[error("there is no such picture in this session")]
    ImageNotFound,
    #[error("there is no such person")]
    PersonNotFound,
    #[error("no route has this path")]
    RouteNotFound,
    #[error("this path does not allow this method")]
    MethodNotAllowed,
    #[error("no event has this name")]
    UnknownEvent,
    #[error("the session is closed")]
    SessionClosed,
    #[error("these two people have an open session already")]
    AnotherIsOpen,
    #[error("the message is deleted")]
    MessageDeleted,
    #[error("a message can be changed only in the first 24 hours")]
    TooOld,
    #[error("{0}")]
    LimitReached(&'static str),
    /// Time until one more request is allowed.
    #[error("too many requests in a short time; try again later")]
    RateLimited(Duration),
    #[error("too many open connections; close one, or try again later")]
    TooManyConnections,
    #[error("this search takes too long; search for rarer words")]
    SearchTooCostly,
    #[error("the request body did not arrive in time")]
    RequestTimeout,
    #[error("the request is too large")]
    TooLarge,
    #[error("the body must be application/json")]
    UnsupportedMediaType,
    #[error("the node is busy and has done nothing; try again")]
    Busy,
    #[error("the node is shutting down; connect again")]
    Draining,
    /// The outcome may be unknown. A send is retried with the same `clientId`.
    #[error("the service is temporarily unavailable; try again")]
    Unavailable,
    #[error("internal error")]
    Internal,
    /// Failure of the database. To the client it is [`Error::Unavailable`] or [`Error::Internal`].
    #[error("{}", as_told(.0))]
    #[strum(disabled)]
    Store(StoreError),
    /// Failure of S3, with its cause. To the client it is [`Error::Unavailable`].
    #[error("{}", Error::Unavailable)]
    #[strum(disabled)]
    Images(String),
}

/// The error that a client receives in place of a failure of the database.
fn as_told(error: &StoreError) -> Error {
    match error {
        StoreError::Unavailable(_) | StoreError::Disk(_) | StoreError::Contended(_) => {
            Error::Unavailable
        }
        StoreError::Refused(_) => Error::Internal,
    }
}

/// An error as a client sees it on a socket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WireError {
    /// Error code for programs.
    code: &'static str,
    /// Explanation for people; not to be parsed.
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Error {
    /// An invalid field, or the request as a whole, and the problem.
    pub(crate) fn invalid(name: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Self {
        Self::Invalid(name.into(), problem.into())
    }

    /// The table: wire code, HTTP status, and the delay before a retry, if a retry makes sense.
    fn row(&self) -> (&'static str, StatusCode, Option<Duration>) {
        let soon = Some(Duration::from_secs(1));
        match self {
            Self::Invalid(..) => ("invalid_request", StatusCode::BAD_REQUEST, None),
            Self::TokenMissing => ("token_missing", StatusCode::UNAUTHORIZED, None),
            Self::TokenInvalid(_) => ("token_invalid", StatusCode::UNAUTHORIZED, None),
            Self::TokenExpired => ("token_expired", StatusCode::UNAUTHORIZED, None),
            Self::IssuerUnavailable => (
                "issuer_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Duration::from_secs(10)),
            ),
            Self::Forbidden(_) => ("forbidden", StatusCode::FORBIDDEN, None),
            Self::Blocked => ("blocked", StatusCode::FORBIDDEN, None),
            Self::BlocksItself => ("cannot_block_yourself", StatusCode::CONFLICT, None),
            Self::OriginRefused => ("origin_not_allowed", StatusCode::FORBIDDEN, None),
            Self::SessionNotFound => ("session_not_found", StatusCode::NOT_FOUND, None),
            Self::MessageNotFound => ("message_not_found", StatusCode::NOT_FOUND, None),
            Self::ImageNotFound => ("image_not_found", StatusCode::NOT_FOUND, None),
            Self::PersonNotFound => ("person_not_found", StatusCode::NOT_FOUND, None),
            Self::RouteNotFound => ("not_found", StatusCode::NOT_FOUND, None),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, None),
            Self::UnknownEvent => ("unknown_event", StatusCode::BAD_REQUEST, None),
            Self::SessionClosed => ("session_closed", StatusCode::CONFLICT, None),
            Self::AnotherIsOpen => ("another_is_open", StatusCode::CONFLICT, None),
            Self::MessageDeleted => ("message_deleted", StatusCode::CONFLICT, None),
            Self::TooOld => ("too_old", StatusCode::CONFLICT, None),
            Self::LimitReached(_) => ("limit_reached", StatusCode::CONFLICT, None),
            Self::RateLimited(wait) => ("rate_limited", StatusCode::TOO_MANY_REQUESTS, Some(*wait)),
            Self::TooManyConnections => {
                ("too_many_connections", StatusCode::TOO_MANY_REQUESTS, Some(SLOTS_RETRY))
            }
            Self::SearchTooCostly => ("search_too_costly", StatusCode::UNPROCESSABLE_ENTITY, None),
            Self::RequestTimeout => ("request_timeout", StatusCode::REQUEST_TIMEOUT, None),
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE, None),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, None)
            }
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, soon),
            Self::Draining => ("draining", StatusCode::SERVICE_UNAVAILABLE, soon),
            Self::Store(error) => as_told(error).row(),
            Self::Unavailable | Self::Images(_) => {
                ("unavailable", StatusCode::SERVICE_UNAVAILABLE, soon)
            }
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, None),
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        self.row().0
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.row().1
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.row().2
    }

    /// Logs the cause, which the client does not receive. It is called once, at the end of a request.
    pub(crate) fn log_cause(&self) {
        match self {
            Self::Store(StoreError::Unavailable(source) | StoreError::Disk(source)) => {
                tracing::warn!(error = %source, "store unavailable");
            }
            // It concerns one session and is often caused by one person, so it is no warning.
            Self::Store(StoreError::Contended(source)) => {
                tracing::info!(error = %source, "store statement ended by a lock or a time limit");
            }
            Self::Store(StoreError::Refused(source)) => {
                tracing::error!(error = %source, "store statement refused");
            }
            Self::Images(problem) => tracing::warn!(error = %problem, "S3 unavailable"),
            _ => {}
        }
    }

    pub(crate) fn to_wire(&self) -> WireError {
        let retry_after = self.retry_after();
        WireError {
            code: self.code(),
            detail: self.to_string(),
            // Rounded up, so that a client that retries at that moment is not too early.
            retry_after_ms: retry_after
                .and_then(|after| after.as_micros().div_ceil(1_000).try_into().ok()),
        }
    }
}

/// The codes of all errors.
pub(crate) fn codes() -> Vec<&'static str> {
    let mut codes: Vec<_> = Error::iter().map(|error| error.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing => Self::TokenMissing,
            AuthError::Invalid(reason) => Self::TokenInvalid(reason),
            AuthError::Expired => Self::TokenExpired,
            AuthError::Blocked => Self::Blocked,
            AuthError::IssuerUnavailable => Self::IssuerUnavailable,
        }
    }
}

impl From<Unamendable> for Error {
    fn from(unamendable: Unamendable) -> Self {
        match unamendable {
            Unamendable::NotFound => Self::MessageNotFound,
            Unamendable::SessionClosed => Self::SessionClosed,
            Unamendable::NotItsSender => Self::Forbidden("only the sender can change a message"),
            Unamendable::Deleted => Self::MessageDeleted,
            Unamendable::TooOld => Self::TooOld,
            Unamendable::TooOften => Self::LimitReached(
                "the message has reached its limit of edits or of your reactions",
            ),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The database is healthy, so there is no cause to log.
impl From<TooCostly> for Error {
    fn from(TooCostly: TooCostly) -> Self {
        Self::SearchTooCostly
    }
}

impl From<Declined> for Error {
    fn from(declined: Declined) -> Self {
        match declined {
            Declined::SessionNotFound => Self::SessionNotFound,
            Declined::SessionClosed => Self::SessionClosed,
            Declined::TooMany => Self::LimitReached("the daily limit of pictures is reached"),
        }
    }
}

impl From<ImagesError> for Error {
    fn from(error: ImagesError) -> Self {
        match error {
            ImagesError::Unavailable(problem) => Self::Images(problem),
            ImagesError::Refused(problem) | ImagesError::Wrong(problem) => {
                Self::invalid("imageKey", problem)
            }
        }
    }
}

/// The cause is logged at the query; for a second after that the directory is not queried.
impl From<DirectoryError> for Error {
    fn from(DirectoryError::Unavailable(_): DirectoryError) -> Self {
        Self::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_cause_of_a_failure_does_not_reach_the_client() {
        let source = || Arc::new(std::io::Error::other("row 7"));
        for (failure, told) in [
            (StoreError::Unavailable(source()).into(), Error::Unavailable),
            (StoreError::Disk(source()).into(), Error::Unavailable),
            (StoreError::Contended(source()).into(), Error::Unavailable),
            (StoreError::Refused(source()).into(), Error::Internal),
            (ImagesError::Unavailable("row 7".to_owned()).into(), Error::Unavailable),
        ] {
            let failure: Error = failure;
            assert_eq!(failure.row(), told.row());
            assert_eq!(failure.to_string(), told.to_string());
        }
    }
}
