//! `/socket.io/`: handshakes and polls of Engine.IO.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequest, Request, State, WebSocketUpgrade},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answers::Answering,
    request::BODY_TIMEOUT,
    socket::{limited, origin_allowed},
};
use crate::{
    Gateway,
    connection::engineio::{
        EngineSession, Entry,
        polling::{self, PostError},
        websocket::{self, Upgrading},
    },
    peers,
};
use identity::auth::{AuthError, from_handshake};
use model::account::Address;
use protocol::{
    engineio::VERSION,
    error::Error,
    problems::{Anyone, Crowded, Leaving, Problems, Slow},
};

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Query {
    #[param(required, value_type = Transport, inline)]
    transport: Option<String>,
    /// Protocol revision of a handshake: 4.
    #[serde(rename = "EIO")]
    #[param(rename = "EIO")]
    version: Option<String>,
    /// Session id from the handshake.
    sid: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Transport {
    Polling,
    WebSocket,
}

/// Errors of a request, with the texts and numbers of the reference server.
pub(crate) enum Refused {
    UnknownTransport,
    UnknownSid,
    BadHandshakeMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
    TooLarge,
    /// An error that the reference server does not have.
    Other(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<polling::BadRequest> for Refused {
    fn from(_: polling::BadRequest) -> Self {
        Self::BadRequest
    }
}

impl From<PostError> for Refused {
    fn from(error: PostError) -> Self {
        match error {
            PostError::BadRequest => Self::BadRequest,
            PostError::TooLarge => Self::TooLarge,
            PostError::TooSlow => Self::Other(Error::RequestTimeout),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, message) = match self {
            Self::UnknownTransport => (0, "Transport unknown"),
            Self::UnknownSid => (1, "Session ID unknown"),
            Self::BadHandshakeMethod => (2, "Bad handshake method"),
            Self::BadRequest => (3, "Bad request"),
            Self::Forbidden => (4, "Forbidden"),
            Self::UnsupportedVersion => (5, "Unsupported protocol version"),
            Self::TooLarge => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            Self::Other(error) => return error.into_response(),
        };
        let forbidden = code == 4;
        let status = if forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
        (status, axum::Json(EngineError { code, message })).into_response()
    }
}

/// Error body for Engine.IO clients.
#[derive(Serialize, ToSchema)]
struct EngineError {
    code: u8,
    message: &'static str,
}

/// Handshakes and polls of Engine.IO. It also opens WebSockets, from the start or by upgrade.
#[utoipa::path(
    get, path = "", tag = "sockets", security((), ("bearer" = [])), params(Query),
    responses(
        (status = 101, description = "A WebSocket."),
        (status = 200, body = String, content_type = "text/plain", description = "Packets."),
        (status = 400, body = EngineError, description = "An error with the text of the reference server."),
        (status = 403, body = EngineError, description = "The origin is not allowed, or the token belongs to another person."),
        Problems<(Anyone, Crowded, Leaving)>,
    )
)]
pub(crate) async fn handle(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, Refused> {
    let query = axum::extract::Query::<Query>::try_from_uri(request.uri());
    let query = query.map_err(|_| Refused::BadRequest)?.0;
    let transport = match query.transport.as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(Refused::UnknownTransport),
    };
    if !origin_allowed(&gateway.config.cors_origins, request.headers()) {
        return Err(Refused::Forbidden);
    }
    let Some(sid) = &query.sid else {
        return begin(gateway, query.version.as_deref(), transport, request).await;
    };
    let session = gateway.engines.get(sid).map(|found| Arc::clone(&found));
    match session {
        Some(session) => go_on(gateway, session, transport, request).await,
        None => elsewhere(&gateway, sid, transport, request).await,
    }
}

/// Receives the packets of a client that polls.
#[utoipa::path(
    post, path = "", tag = "sockets", security((), ("bearer" = [])), params(Query),
    request_body(content = Option<String>, content_type = "text/plain", description = "At most 1,000,000 bytes, 64 KiB of them in one packet."),
    responses(
        (status = 200, body = String, content_type = "text/html", description = "`ok`"),
        (status = 400, body = EngineError, description = "An error with the text of the reference server."),
        (status = 403, body = EngineError, description = "The origin is not allowed, or the token belongs to another person."),
        (status = 413, description = "A packet is over 64 KiB, or the body is over 1,000,000 bytes. The session ends."),
        Problems<(Anyone, Slow, Crowded, Leaving)>,
    )
)]
pub(crate) async fn packets(
    gateway: State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, Refused> {
    handle(gateway, request).await
}

/// Token of the request, if there is one.
fn token(request: &Request) -> Option<SecretString> {
    from_handshake(request.headers(), request.uri().query().unwrap_or_default()).ok()
}

async fn begin(
    gateway: Arc<Gateway>,
    version: Option<&str>,
    transport: Transport,
    request: Request,
) -> Result<Response, Refused> {
    if request.method() != Method::GET {
        return Err(Refused::BadHandshakeMethod);
    }
    if version != Some(VERSION) {
        return Err(Refused::UnsupportedVersion);
    }
    if gateway.is_draining() {
        return Err(Error::Draining.into());
    }
    let token = token(&request);
    let address = request.extensions().get::<Address>().copied().ok_or(Error::Internal)?;
    let entry = Entry::open(&gateway, address, token.as_ref()).await?;
    if transport == Transport::WebSocket {
        let upgrade = upgrade(request).await?;
        return Ok(upgrade.on_upgrade(async move |socket| {
            let session = EngineSession::open(&gateway, entry, token, &[]);
            websocket::carry(gateway, session, socket).await;
        }));
    }
    poll(&EngineSession::open(&gateway, entry, token, &["websocket"])).await
}

async fn go_on(
    gateway: Arc<Gateway>,
    session: Arc<EngineSession>,
    transport: Transport,
    request: Request,
) -> Result<Response, Refused> {
    // The id is the session's key. A token beside it must be the one of the handshake (which may have been
    // refreshed since), or another one of the same person.
    if let (Some(outbound), Some(token)) = (session.outbound(), token(&request))
        && !session.began_with(&token)
    {
        match gateway.identify(token.expose_secret()).await {
            Ok(bearer) if bearer.scope.person() == outbound.scope().person() => {}
            Err(AuthError::IssuerUnavailable) => {}
            _ => return Err(Refused::Forbidden),
        }
    }
    // Packets of a poll are charged until they are read. Over the budget, the next poll is refused.
    if let (Some(outbound), Some(answering)) =
        (session.outbound(), request.extensions().get::<Answering>())
    {
        answering.is_for(outbound.scope());
        if request.method() == Method::GET {
            answering.may_ask(outbound.scope())?;
        }
    }
    match (transport, request.method()) {
        (Transport::WebSocket, &Method::GET) if !session.is_on_websocket() => {
            let upgrading = Upgrading::begin(session).ok_or(Refused::BadRequest)?;
            let upgrade = upgrade(request).await?;
            Ok(upgrade.on_upgrade(|socket| websocket::upgrade(gateway, upgrading, socket)))
        }
        (Transport::Polling, &Method::GET) => poll(&session).await,
        (Transport::Polling, &Method::POST) => post(&session, request.into_body()).await,
        _ => Err(Refused::BadRequest),
    }
}

/// Handles a session that is not on this node. Its id names its node.
async fn elsewhere(
    gateway: &Arc<Gateway>,
    sid: &str,
    transport: Transport,
    request: Request,
) -> Result<Response, Refused> {
    let node = sid.split_once('.').map_or("", |(node, _)| node);
    let is_name =
        node.len() == gateway.node.len() && node.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name || node == gateway.node || request.headers().contains_key(peers::CARRIED) {
        return Err(Refused::UnknownSid);
    }
    // The client continues to poll, and upgrades after it has moved to another node.
    if transport == Transport::WebSocket && gateway.is_draining() {
        return Err(Refused::BadRequest);
    }
    peers::carry(gateway, node, request).await.map_err(|_| Refused::UnknownSid)
}

async fn upgrade(request: Request) -> Result<WebSocketUpgrade, Refused> {
    let upgrade = WebSocketUpgrade::from_request(request, &()).await;
    upgrade.map(limited).map_err(|_| Refused::BadRequest)
}

async fn poll(session: &EngineSession) -> Result<Response, Refused> {
    Ok(text(polling::poll(session).await?))
}

async fn post(session: &EngineSession, body: Body) -> Result<Response, Refused> {
    polling::post(session, body, BODY_TIMEOUT).await?;
    Ok(([(header::CONTENT_TYPE, "text/html")], "ok").into_response())
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], body).into_response()
}
