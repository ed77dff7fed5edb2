//! Errors of a request, and the table of their codes and statuses.
//!
//! An error answers one request, and its connection stays open. Connections end with a
//! [`crate::CloseCode`].

use std::{borrow::Cow, time::Duration};

use axum::http::StatusCode;
use serde::Serialize;
use strum::{EnumIter, IntoEnumIterator};
use tracing::Level;
use utoipa::ToSchema;

use model::message::amend::Unamendable;
use platform::{ServiceError, ServiceFailure};

/// Retry delay for a client with too many connections.
const SLOTS_RETRY: Duration = Duration::from_secs(10);

/// Reason why a request failed.
#[derive(Clone, Debug, thiserror::Error, EnumIter)]
pub enum Error {
    /// A field that is missing or out of its limits: its name and the problem.
    #[error("{0}: {1}")]
    Invalid(Cow<'static, str>, String),
    /// 401: no token.
    #[error("the request has no token")]
    TokenMissing,
    /// 401: the reason why the token is not valid.
    #[error("the token is not valid: {0}")]
    TokenInvalid(&'static str),
    /// 401: the token has expired.
    #[error("the token has expired")]
    TokenExpired,
    /// 503: the issuer's keys can't be fetched.
    #[error("the token's issuer can't be reached; try again soon")]
    IssuerUnavailable,
    /// 403: the reason.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 403: the person is blocked.
    #[error("this person is blocked")]
    Blocked,
    /// 403: the tenant is suspended.
    #[error("this organisation is suspended")]
    TenantSuspended,
    /// 401: the key of the platform API is missing or wrong.
    #[error("the request has no valid key of the platform")]
    PlatformKeyInvalid,
    /// 404: no such tenant.
    #[error("there is no such tenant")]
    TenantNotFound,
    /// 404: the tenant has no such issuer.
    #[error("the tenant has no such issuer")]
    IssuerNotFound,
    /// 409: main's issuers are those of the environment.
    #[error("the issuers of the tenant main are set by environment variables")]
    IssuersOfMain,
    /// 409: a tenant has this issuer already.
    #[error("this issuer belongs to a tenant already")]
    IssuerTaken,
    /// 409: another organisation's issuer has this secret or key set.
    #[error("an issuer of another organisation has this secret or key set")]
    IssuerKeyTaken,
    /// 409: a secret can't be sealed.
    #[error("SECRETS_KEY is not set, so a secret can't be stored")]
    NoSecretsKey,
    /// 409: nodes of an earlier version may run, and would do it wrongly.
    #[error("this is not possible until 'frontdesk migrate --finish' has ended the upgrade")]
    UpgradeUnfinished,
    /// 409: an administrator would block themselves.
    #[error("you can't block yourself")]
    BlocksItself,
    /// 403: the origin is not allowed.
    #[error("this origin is not allowed")]
    OriginRefused,
    /// 404: no such session, or the caller is no member.
    #[error("there is no such session")]
    SessionNotFound,
    /// 404: no such message in the session, or the caller is no member.
    #[error("there is no such message in this session")]
    MessageNotFound,
    /// 404: no such picture in the session, or the caller is no member.
    #[error("there is no such picture in this session")]
    ImageNotFound,
    /// 404: no person, or not to talk to.
    #[error("there is no such person")]
    PersonNotFound,
    /// 404: no route.
    #[error("no route has this path")]
    RouteNotFound,
    /// 405: another method.
    #[error("this path does not allow this method")]
    MethodNotAllowed,
    /// No event has this name.
    #[error("no event has this name")]
    UnknownEvent,
    /// 409: the session is closed.
    #[error("the session is closed")]
    SessionClosed,
    /// 409: the two have another open session.
    #[error("these two people have an open session already")]
    AnotherIsOpen,
    /// 409: a session keeps its dentist.
    #[error("the session is theirs; transfer it to another dentist first")]
    SessionIsTheirs,
    /// 409: the message is deleted.
    #[error("the message is deleted")]
    MessageDeleted,
    /// 409: the message is too old.
    #[error("a message can be changed only in the first 24 hours")]
    TooOld,
    /// 409: the limit.
    #[error("{0}")]
    LimitReached(&'static str),
    /// Time until one more request is allowed.
    #[error("too many requests in a short time; try again later")]
    RateLimited(Duration),
    /// 429: too many connections of the user or the address.
    #[error("too many open connections; close one, or try again later")]
    TooManyConnections,
    /// 422: the search takes too long.
    #[error("this search takes too long; search for rarer words")]
    SearchTooCostly,
    /// 408: the body did not arrive in time.
    #[error("the request body did not arrive in time")]
    RequestTimeout,
    /// 413: the request is too large.
    #[error("the request is too large")]
    TooLarge,
    /// 415: the `Content-Type` of the body is not that of JSON.
    #[error("the body must be application/json")]
    UnsupportedMediaType,
    /// 503: too much waits on this node.
    #[error("the node is busy and has done nothing; try again")]
    Busy,
    /// 503: this node shuts down.
    #[error("the node is shutting down; connect again")]
    Draining,
    /// The outcome may be unknown. A send is retried with the same `clientId`.
    #[error("the service is temporarily unavailable; try again")]
    Unavailable,
    /// 500: the cause is in the log.
    #[error("internal error")]
    Internal,
    /// Failure of a service behind the node. To the client it is [`Error::Unavailable`] or
    /// [`Error::Internal`].
    #[error("{}", as_seen(.0))]
    #[strum(disabled)]
    Service(ServiceFailure),
}

/// The error that a client receives in place of a service's failure.
fn as_seen(failure: &ServiceFailure) -> Error {
    if failure.is_permanent { Error::Internal } else { Error::Unavailable }
}

/// An error as a client sees it on a socket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WireError {
    /// Error code for programs.
    code: &'static str,
    /// Explanation for people; not to be parsed.
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Error {
    /// An invalid field, or the request as a whole, and the problem.
    pub fn invalid(name: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Self {
        Self::Invalid(name.into(), problem.into())
    }

    /// The reason why a message can't be changed.
    pub fn unamendable(unamendable: Unamendable) -> Self {
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
            Self::TenantSuspended => ("tenant_suspended", StatusCode::FORBIDDEN, None),
            Self::PlatformKeyInvalid => ("platform_key_invalid", StatusCode::UNAUTHORIZED, None),
            Self::TenantNotFound => ("tenant_not_found", StatusCode::NOT_FOUND, None),
            Self::IssuerNotFound => ("issuer_not_found", StatusCode::NOT_FOUND, None),
            Self::IssuersOfMain => ("issuers_of_main", StatusCode::CONFLICT, None),
            Self::IssuerTaken => ("issuer_taken", StatusCode::CONFLICT, None),
            Self::IssuerKeyTaken => ("issuer_key_taken", StatusCode::CONFLICT, None),
            Self::NoSecretsKey => ("secrets_key_missing", StatusCode::CONFLICT, None),
            Self::UpgradeUnfinished => ("upgrade_unfinished", StatusCode::CONFLICT, None),
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
            Self::SessionIsTheirs => ("session_is_theirs", StatusCode::CONFLICT, None),
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
            Self::Service(failure) => as_seen(failure).row(),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, soon),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, None),
        }
    }

    /// Code for programs.
    pub fn code(&self) -> &'static str {
        self.row().0
    }

    /// Status of HTTP.
    pub fn status(&self) -> StatusCode {
        self.row().1
    }

    /// Delay before a retry, if a retry makes sense.
    pub fn retry_after(&self) -> Option<Duration> {
        self.row().2
    }

    /// Logs the cause, which the client does not receive. It is called once, at the end of a request.
    pub fn log_cause(&self) {
        let Self::Service(ServiceFailure { level, event, cause, .. }) = self else { return };
        match *level {
            Level::ERROR => tracing::error!(error = %cause, "{event}"),
            Level::WARN => tracing::warn!(error = %cause, "{event}"),
            _ => tracing::info!(error = %cause, "{event}"),
        }
    }

    /// The error as it is sent on a socket.
    pub fn to_wire(&self) -> WireError {
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
pub fn codes() -> Vec<&'static str> {
    let mut codes: Vec<_> = Error::iter().map(|error| error.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

impl<T: ServiceError> From<T> for Error {
    fn from(error: T) -> Self {
        Self::Service(error.failure())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_cause_of_a_failure_does_not_reach_the_client() {
        for (is_permanent, seen) in [(false, Error::Unavailable), (true, Error::Internal)] {
            let cause = Arc::new(std::io::Error::other("row 7"));
            let failure = ServiceFailure { is_permanent, level: Level::WARN, event: "x", cause };
            let failure = Error::Service(failure);
            assert_eq!(failure.row(), seen.row());
            assert_eq!(failure.to_string(), seen.to_string());
        }
    }
}
