//! `/socket.io/`: the handshake of Engine.IO, and its polls.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    extract::{RawQuery, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::socket::{limited, origin_allowed};
use crate::{
    app::App,
    auth::from_handshake,
    connection::engineio::{PAYLOAD_MAX, Session, polling, websocket},
    error::Error,
    wire::engineio::VERSION,
};

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

#[derive(Default, Deserialize)]
struct Query {
    transport: Option<String>,
    #[serde(rename = "EIO")]
    version: Option<String>,
    sid: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Polling,
    WebSocket,
}

/// What is wrong with a request, in the words and numbers of the reference server.
#[derive(Clone, Copy)]
enum Refused {
    UnknownTransport,
    UnknownSid,
    BadHandshakeMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
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
        };
        let forbidden = matches!(self, Self::Forbidden);
        let status = if forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
        (status, axum::Json(json!({ "code": code, "message": message }))).into_response()
    }
}

pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
    upgrade: Upgrade,
    body: Body,
) -> Result<Response, Response> {
    let query = axum::extract::Query::<Query>::try_from_uri(&uri);
    let query = query.map_err(|_| Refused::BadRequest.into_response())?.0;
    let transport = match query.transport.as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(Refused::UnknownTransport.into_response()),
    };
    if !origin_allowed(&app.config.cors_origins, headers.get(header::ORIGIN)) {
        return Err(Refused::Forbidden.into_response());
    }
    let token = from_handshake(&headers, raw.as_deref().unwrap_or_default());
    let Some(sid) = &query.sid else {
        if method != Method::GET {
            return Err(Refused::BadHandshakeMethod.into_response());
        }
        if query.version.as_deref() != Some(VERSION) {
            return Err(Refused::UnsupportedVersion.into_response());
        }
        if app.is_draining() {
            return Err(Error::Draining.into_response());
        }
        return open(&app, token.ok(), transport, upgrade).await.map_err(Refused::into_response);
    };
    let session = app.engines.get(sid).map(|found| Arc::clone(&found));
    let session = session.ok_or_else(|| Refused::UnknownSid.into_response())?;
    if let (Some(outbound), Ok(token)) = (session.outbound(), token) {
        let bearer = app.verifier.verify(token.expose_secret()).await;
        if !bearer.is_ok_and(|bearer| bearer.person == *outbound.person()) {
            return Err(Refused::Forbidden.into_response());
        }
    }
    match (transport, method) {
        (Transport::WebSocket, Method::GET) if !session.is_on_websocket() => {
            let upgrade = upgrade.map_err(|_| Refused::BadRequest.into_response())?;
            Ok(limited(upgrade).on_upgrade(|socket| websocket::upgrade(app, session, socket)))
        }
        (Transport::Polling, Method::GET) => {
            polling::poll(&session).await.map(text).map_err(|_| Refused::BadRequest.into_response())
        }
        (Transport::Polling, Method::POST) => post(&session, body).await,
        _ => Err(Refused::BadRequest.into_response()),
    }
}

async fn open(
    app: &Arc<App>,
    token: Option<secrecy::SecretString>,
    transport: Transport,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    if transport == Transport::WebSocket {
        let upgrade = upgrade.map_err(|_| Refused::BadRequest)?;
        let app = Arc::clone(app);
        return Ok(limited(upgrade).on_upgrade(async move |socket| {
            let session = Session::open(&app, token, &[]);
            websocket::carry(app, session, socket).await;
        }));
    }
    let session = Session::open(app, token, &["websocket"]);
    polling::poll(&session).await.map(text).map_err(|_| Refused::BadRequest)
}

async fn post(session: &Session, body: Body) -> Result<Response, Response> {
    let body = tokio::time::timeout(super::request::BODY_TIMEOUT, to_bytes(body, PAYLOAD_MAX));
    let body = body.await.map_err(|_| Error::RequestTimeout.into_response())?;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE.into_response())?;
    let refused = |_| Refused::BadRequest.into_response();
    let body = std::str::from_utf8(&body).map_err(|_| Refused::BadRequest.into_response())?;
    polling::post(session, body).await.map_err(refused)?;
    Ok(([(header::CONTENT_TYPE, "text/html")], "ok").into_response())
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], body).into_response()
}
