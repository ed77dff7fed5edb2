//! `GET /ws`: the handshake of the native framing.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::ExposeSecret;

use crate::{Gateway, connection::websocket, http::origins::Origins};
use identity::auth::{AuthError, SUBPROTOCOL, from_handshake};
use model::account::{Account, Address};
use protocol::{
    CloseCode,
    error::Error,
    problems::{Anyone, Handshake, Input, NoIssuer, Problems},
};

/// Maximum size of a frame and of a message, in bytes.
const FRAME_MAX: usize = 64 * 1024;
/// Read buffer of a connection, in bytes. Frames are small, and every idle connection would pay for the
/// default of 128 KiB.
const READ_BUFFER: usize = 2 * 1024;
/// Bytes gathered before a write.
const WRITE_BUFFER: usize = 8 * 1024;
/// Maximum bytes to gather. The largest frame is the answer to a Socket.IO join, with the changes since.
const WRITE_BUFFER_MAX: usize = 2 * 1024 * 1024;

/// Opens a socket with the native framing, by a WebSocket handshake.
///
/// The token is in `Authorization`, in `Sec-WebSocket-Protocol: bearer, <token>`, or in `?token=`. With an
/// invalid token the socket opens and is closed with 4401, because browsers don't show the status of a
/// handshake.
#[utoipa::path(
    get, path = "", tag = "sockets", security((), ("bearer" = [])),
    params(("token" = Option<String>, Query, description = "The token, where no header can carry it.")),
    responses(
        (status = 101, description = "A WebSocket."),
        Problems<(Anyone, Input, Handshake, NoIssuer)>,
    )
)]
pub(crate) async fn connect(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    Extension(address): Extension<Address>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    let upgrade = upgrade.map_err(|_| not_a_handshake("a WebSocket handshake of version 13"))?;
    if !is_key(headers.get(header::SEC_WEBSOCKET_KEY)) {
        return Err(not_a_handshake("a Sec-WebSocket-Key of 16 bytes in Base64"));
    }
    if gateway.is_draining() {
        return Err(Error::Draining);
    }
    if !origin_allowed(&gateway.config.cors_origins, &headers) {
        return Err(Error::OriginRefused);
    }
    let identity = match from_handshake(&headers, query.as_deref().unwrap_or_default()) {
        Ok(token) => gateway.identify(token.expose_secret()).await,
        Err(error) => Err(error),
    };
    let upgrade = limited(upgrade).protocols([SUBPROTOCOL]);
    match identity {
        Ok(identity) => {
            let accounts =
                [Account::User(identity.scope.person().clone()), Account::Address(address)];
            match gateway.limits.slots(accounts).await {
                Ok(slots) => {
                    Ok(upgrade
                        .on_upgrade(|socket| websocket::run(gateway, socket, identity, slots)))
                }
                Err(_) => Ok(upgrade
                    .on_upgrade(|socket| websocket::refuse(socket, CloseCode::TooManyConnections))),
            }
        }
        // Not the client's fault. A status lets it try elsewhere.
        Err(AuthError::IssuerUnavailable) => Err(Error::IssuerUnavailable),
        Err(error) => {
            let refused = matches!(error, AuthError::Blocked | AuthError::TenantSuspended);
            let code = if refused { CloseCode::NotAllowed } else { CloseCode::Unauthorized };
            Ok(upgrade.on_upgrade(move |socket| websocket::refuse(socket, code)))
        }
    }
}

/// Sets small buffers and the maximum frame size.
pub(crate) fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
        .max_message_size(FRAME_MAX)
        .max_frame_size(FRAME_MAX)
}

fn not_a_handshake(expected: &str) -> Error {
    Error::invalid("request", format!("expected {expected}"))
}

/// Required by RFC 6455, section 4.2.1. The library accepts any key.
fn is_key(key: Option<&HeaderValue>) -> bool {
    key.and_then(|key| BASE64_STANDARD.decode(key).ok()).is_some_and(|key| key.len() == 16)
}

/// Browsers send the origin of the page. Other clients send none, and authenticate by their token. Some apps
/// send our own address.
pub(crate) fn origin_allowed(allowed: &Origins, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let ours = |scheme: &str| origin.as_bytes().strip_prefix(scheme.as_bytes()) == Some(host);
    allowed.allow(origin.as_bytes()) || (!host.is_empty() && (ours("https://") || ours("http://")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::origins::tests::origins;

    #[test]
    fn b17_only_the_very_origins_that_are_set_are_allowed() {
        let allowed = origins("https://portal.example").unwrap();
        let ask = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            headers.insert(header::HOST, "chat.example:8443".parse().unwrap());
            origin_allowed(&allowed, &headers)
        };
        assert!(ask("https://portal.example"));
        assert!(ask("https://chat.example:8443"), "an gateway that says our own address");
        for foreign in [
            "https://portal.example.evil.test",
            "https://evilportal.example",
            "http://portal.example",
            "https://portal.example:444",
            "https://chat.example",
            "https://evilchat.example:8443",
            "null",
            "",
        ] {
            assert!(!ask(foreign), "{foreign}");
        }
        assert!(origin_allowed(&allowed, &HeaderMap::new()), "an gateway sends none");
        let mut any = HeaderMap::new();
        any.insert(header::ORIGIN, "https://any.example".parse().unwrap());
        assert!(origin_allowed(&Origins::Any, &any));
    }
}
