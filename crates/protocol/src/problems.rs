//! Errors of each operation: lists that become responses in the document.
//!
//! Status, code and text come from the table in `error.rs`.

use std::{collections::BTreeMap, marker::PhantomData, time::Duration};

use axum::http::StatusCode;
use serde_json::json;
use utoipa::{
    IntoResponses,
    openapi::{
        ContentBuilder, RefOr,
        response::{Response, ResponseBuilder},
    },
};

use crate::{error::Error, problem::Problem};
use platform::openapi::{header, reference, schema};

/// Responses for some lists of errors.
pub struct Problems<Lists>(PhantomData<Lists>);

/// A list of errors.
pub trait List {
    /// The errors of the list.
    fn errors() -> Vec<Error>;
}

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident = $($error:ident $(($($with:expr),*))?),*;)*) => {$(
        $(#[$doc])*
        pub enum $name {}

        impl List for $name {
            fn errors() -> Vec<Error> {
                vec![$(Error::$error $(($($with),*))?),*]
            }
        }
    )*};
}

lists! {
    /// Errors of every request.
    Anyone = RateLimited(Duration::ZERO), Internal;
    /// Errors of a request with a token.
    Authentication = RateLimited(Duration::ZERO), Internal, TokenMissing, TokenInvalid("why"), TokenExpired, Blocked,
        TenantSuspended, IssuerUnavailable, Unavailable;
    /// Error of an admin's request, beside those of [`Authentication`].
    NoAdmin = Forbidden("only an admin can do this");
    /// Errors of parameters, or of the fields in a body.
    Input = invalid("a field's name", "what is wrong with it");
    /// Errors of a body.
    Body = invalid("a field's name", "what is wrong with it"), RequestTimeout, TooLarge,
        UnsupportedMediaType;
    /// Error of a path without a route.
    NoRoute = RouteNotFound;
    /// Error of a session that is not there.
    NoSession = SessionNotFound;
    /// Error of a message that is not there.
    NoMessage = MessageNotFound;
    /// Error of a picture that is not there.
    NoImage = ImageNotFound;
    /// Error of a person who is not there.
    NoPerson = PersonNotFound;
    /// Error of a closed session.
    Closed = SessionClosed;
    /// Errors of a change of a message.
    Unamendable = SessionClosed, MessageDeleted, LimitReached("the message has reached its limit of edits or of your reactions");
    /// Error of another person's message.
    NotItsSender = Forbidden("only the sender can change a message");
    /// Error of a change that comes too late.
    Late = TooOld;
    /// Error of a change that only a dentist may make.
    NotTheAgent = Forbidden("only a dentist can set a session's status or assignee"),
        Forbidden("notes are neither put aside nor assigned");
    /// Error of a list that only a dentist has.
    NotListed = Forbidden("only a dentist can list pending or snoozed sessions");
    /// Error of a customer who looks for notes.
    NoNotes = Forbidden("only a dentist has notes");
    /// Error of a second open session.
    TwoOpen = AnotherIsOpen;
    /// Errors of a further member.
    FullSession = LimitReached("a session has at most 20 members"), UpgradeUnfinished;
    /// Errors of an end of membership.
    StillTheirs = SessionIsTheirs, UpgradeUnfinished;
    /// Errors of a transfer.
    SharedOnly = LimitReached("a session has at most 20 members"), AnotherIsOpen, UpgradeUnfinished;
    /// Error of too many pictures.
    TooManyImages = LimitReached("the daily limit of pictures is reached");
    /// Error of too many sessions without an answer.
    TooManyUnanswered = LimitReached("too many of your sessions wait for a first answer");
    /// Errors of every request to the platform API.
    PlatformKey = RateLimited(Duration::ZERO), Internal, RouteNotFound, PlatformKeyInvalid, Unavailable;
    /// Error of a tenant that is not there.
    NoTenant = TenantNotFound;
    /// Error of an issuer that is not there.
    NoIssuerThere = IssuerNotFound;
    /// Error of a second tenant that can't be yet.
    OneTenant = UpgradeUnfinished;
    /// Errors of an issuer that can't be added.
    BadIssuer = IssuersOfMain, IssuerTaken, IssuerKeyTaken, NoSecretsKey, LimitReached("a tenant has at most 20 issuers");
    /// Error of an administrator who names themselves.
    Oneself = BlocksItself;
    /// Error of a busy node.
    BusyNow = Busy;
    /// Error of a search.
    Costly = SearchTooCostly;
    /// Error of a body that does not come.
    Slow = RequestTimeout;
    /// Error of a node that accepts no more sockets.
    Leaving = Draining;
    /// Errors of a socket's handshake.
    Handshake = OriginRefused, Draining;
    /// Error of a token that can't be verified now.
    NoIssuer = IssuerUnavailable;
    /// Error of an address with too many connections.
    Crowded = TooManyConnections;
}

macro_rules! tuples {
    ($(($($list:ident),+);)*) => {$(
        impl<$($list: List),+> List for ($($list,)+) {
            fn errors() -> Vec<Error> {
                [$($list::errors()),+].concat()
            }
        }
    )*};
}

tuples! { (A); (A, B); (A, B, C); (A, B, C, D); (A, B, C, D, E); (A, B, C, D, E, F); }

impl<Lists: List> IntoResponses for Problems<Lists> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut by_status = BTreeMap::<StatusCode, Vec<Error>>::new();
        for error in Lists::errors() {
            let alike = by_status.entry(error.status()).or_default();
            if alike.iter().all(|known| known.code() != error.code()) {
                alike.push(error);
            }
        }
        let answers = by_status.into_iter();
        answers
            .map(|(status, errors)| (status.as_str().to_owned(), answer(status, &errors).into()))
            .collect()
    }
}

fn answer(status: StatusCode, errors: &[Error]) -> Response {
    let told = errors.iter().map(|error| format!("`{}`: {error}", error.code()));
    let codes: Vec<_> = errors.iter().map(Error::code).collect();
    let mut narrowed = schema(&json!({ "allOf": [{
        "type": "object",
        "properties": {
            "status": { "type": "integer", "enum": [status.as_u16()] },
            "code": { "type": "string", "enum": codes },
        },
    }] }));
    if let RefOr::T(utoipa::openapi::Schema::AllOf(both)) = &mut narrowed {
        both.items.insert(0, reference::<Problem>());
    }
    let content = ContentBuilder::new().schema(Some(narrowed)).build();
    let mut answer = ResponseBuilder::new()
        .description(told.collect::<Vec<_>>().join("\n\n"))
        .content("application/problem+json", content);
    if errors.iter().any(|error| error.retry_after().is_some()) {
        let secs = json!({ "type": "integer", "minimum": 1 });
        answer = answer
            .header("Retry-After", header("Delay before the next attempt, in seconds.", &secs));
    }
    if status == StatusCode::UNAUTHORIZED {
        let bearer = json!({ "type": "string", "enum": ["Bearer"] });
        answer =
            answer.header("WWW-Authenticate", header("Kind of token that is expected.", &bearer));
    }
    answer.build()
}
