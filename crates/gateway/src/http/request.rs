//! Extractors for handlers: the caller, and the parsed body, path and query.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, Method, header, request::Parts},
};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use utoipa::{
    IntoParams, PartialSchema,
    openapi::path::{Parameter, ParameterIn},
};

use super::{answers::Answering, problem::RequestId};
use crate::Gateway;
use identity::{audit::Actor, auth::from_headers};
use model::{
    account::Address,
    scope::{AdminScope, Scope},
};
use model::{
    ids::{MessageId, SessionId},
    message::Emoji,
    person::{PersonId, PersonName, Side},
};
use platform::openapi::in_path;
use protocol::{error::Error, message_id};

/// The person whose token the request carries.
pub(crate) struct Authenticated(pub Scope);

impl FromRequestParts<Arc<Gateway>> for Authenticated {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Error> {
        let token = from_headers(&parts.headers)?;
        let identity = gateway.identify(token.expose_secret()).await?;
        if let Some(answering) = parts.extensions.get::<Answering>() {
            answering.is_for(&identity.scope);
            // Writes remain allowed: their answers are small.
            if parts.method == Method::GET {
                answering.may_ask(&identity.scope)?;
            }
        }
        Ok(Self(identity.scope))
    }
}

/// The caller, if they are an admin.
pub struct Admin(pub AdminScope);

impl FromRequestParts<Arc<Gateway>> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Error> {
        let Authenticated(scope) = Authenticated::from_request_parts(parts, gateway).await?;
        scope.into_admin().map(Self).ok_or(Error::Forbidden("only an admin can do this"))
    }
}

/// The caller, if they are an admin, with the data for an entry in the audit log.
pub(crate) struct ActingAdmin(pub Actor);

impl FromRequestParts<Arc<Gateway>> for ActingAdmin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Error> {
        let Admin(scope) = Admin::from_request_parts(parts, gateway).await?;
        // Both are set before any handler runs.
        let address = parts.extensions.get::<Address>().copied();
        let request_id = parts.extensions.get::<RequestId>().cloned();
        let (Some(address), Some(RequestId(request_id))) = (address, request_id) else {
            return Err(Error::Internal);
        };
        Ok(Self(Actor { scope, address, request_id }))
    }
}

/// Session named in the path. A malformed id is a session that doesn't exist.
pub struct InSession(pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for InSession {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<SessionId>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Error::SessionNotFound)
    }
}

impl IntoParams for InSession {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![in_path("id", "The session.", SessionId::schema())]
    }
}

/// Session and message named in the path.
pub(crate) struct OfMessage(pub SessionId, pub MessageId);

impl<S: Send + Sync> FromRequestParts<S> for OfMessage {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<(SessionId, MessageId)>::from_request_parts(parts, state).await;
        path.map(|Path((id, message_id))| Self(id, message_id)).map_err(|_| Error::MessageNotFound)
    }
}

impl IntoParams for OfMessage {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let message = in_path("message", "The message, in this session.", message_id());
        vec![in_path("id", "The session.", SessionId::schema()), message]
    }
}

/// Session and professional named in the path, with the professional's id.
pub(crate) struct OfParticipant(pub SessionId, pub PersonId);

impl<S: Send + Sync> FromRequestParts<S> for OfParticipant {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Ok(Path((id, person))) = path else { return Err(Error::PersonNotFound) };
        let id = id.parse().map(SessionId).map_err(|_| Error::SessionNotFound)?;
        Ok(Self(id, person.parse().map_err(|_| Error::PersonNotFound)?))
    }
}

impl IntoParams for OfParticipant {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut params = InSession::into_params(place);
        params.push(in_path("dentistId", "The professional.", PersonId::schema()));
        params
    }
}

/// Session, message and emoji named in the path.
pub(crate) struct OfReaction(pub SessionId, pub MessageId, pub Emoji);

impl<S: Send + Sync> FromRequestParts<S> for OfReaction {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<(String, String, String)>::from_request_parts(parts, state).await;
        let Ok(Path((id, message_id, emoji))) = path else { return Err(Error::MessageNotFound) };
        let id = id.parse().map(SessionId).map_err(|_| Error::MessageNotFound)?;
        let message_id = message_id.parse().map_err(|_| Error::MessageNotFound)?;
        let emoji = emoji.parse().map_err(|error| Error::invalid("emoji", format!("{error}")))?;
        Ok(Self(id, message_id, emoji))
    }
}

impl IntoParams for OfReaction {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut params = OfMessage::into_params(place);
        params.push(in_path("emoji", "One emoji of Unicode.", Emoji::schema()));
        params
    }
}

/// Person of the caller's tenant, named in the path, known here or not.
pub(crate) struct OfUser(pub PersonName);

impl<S: Send + Sync> FromRequestParts<S> for OfUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Ok(Path((kind, id))) = path else { return Err(Error::PersonNotFound) };
        match (kind.parse(), id.parse()) {
            (Ok(side), Ok(id)) => Ok(Self(PersonName { side, id })),
            _ => Err(Error::PersonNotFound),
        }
    }
}

impl IntoParams for OfUser {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let kind = in_path("kind", "On which side of the desk they are.", Side::schema());
        vec![kind, in_path("id", "The id that their token carries.", PersonId::schema())]
    }
}

/// Time limit to receive a body.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            return Err(Error::UnsupportedMediaType);
        }
        protocol::object(&body(request, state).await?).map(Self)
    }
}

/// An optional JSON body, for types whose fields are all optional.
pub(crate) struct JsonOrNothing<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for JsonOrNothing<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let is_json = is_json(request.headers());
        let body = body(request, state).await?;
        // Some clients send `null` for an absent body.
        match body.is_empty() || (is_json && body.trim_ascii() == b"null") {
            true => Ok(Self(T::default())),
            false if is_json => protocol::object(&body).map(Self),
            false => Err(Error::UnsupportedMediaType),
        }
    }
}

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Error> {
    let body = timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
    body.map_err(|_| Error::RequestTimeout)?.map_err(|_| Error::TooLarge)
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// Parameters of the query string.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let problem = |_| Error::invalid("query", "a parameter has a wrong type");
        query.map(|Query(params)| Self(params)).map_err(problem)
    }
}
