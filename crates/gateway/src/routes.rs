//! The routes for clients, one per line, and the layers of every answer.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, Method, header, request::Parts},
    middleware,
};
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer},
    set_header::SetResponseHeaderLayer,
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    Gateway,
    http::{
        admin, answers, audit, blocks, carried, chats, hsts, images, limits, messages, notes,
        origins::Origins,
        participants,
        platform::{issuers, tenants},
        problem, search, socket, socketio,
        traces::layer as traced,
    },
};
use platform::{openapi::at, traces};
use protocol::error::Error;

/// Maximum size of a request's body, in bytes: a message with the longest body, in the widest encoding.
const BODY_MAX: usize = 128 * 1024;

/// Every route for clients, with its documentation.
#[rustfmt::skip]
pub fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(at("/api/chats", routes!(chats::open, chats::list)))
        .routes(at("/api/chats/unread", routes!(chats::unread)))
        .routes(at("/api/chats/search", routes!(search::search)))
        .routes(at("/api/chats/{id}", routes!(chats::get, chats::set)))
        .routes(at("/api/chats/{id}/messages", routes!(messages::send, messages::history)))
        .routes(at("/api/chats/{id}/messages/{message}", routes!(messages::edit, messages::delete)))
        .routes(at("/api/chats/{id}/messages/{message}/reactions/{emoji}", routes!(messages::react, messages::unreact)))
        .routes(at("/api/chats/{id}/read", routes!(messages::read)))
        .routes(at("/api/chats/{id}/notes", routes!(notes::get, notes::open)))
        .routes(at("/api/chats/{id}/images", routes!(images::presign_upload)))
        .routes(at("/api/chats/{id}/images/{image}", routes!(images::fetch)))
        .routes(at("/api/admin/chats/{id}/messages/{message}/edits", routes!(admin::edits)))
        .routes(at("/api/admin/chats/{id}/participants", routes!(participants::add)))
        .routes(at("/api/admin/chats/{id}/participants/{dentistId}", routes!(participants::remove)))
        .routes(at("/api/admin/chats/{id}/transfer", routes!(participants::transfer)))
        .routes(at("/api/admin/audit", routes!(audit::list)))
        .routes(at("/api/admin/users/blocked", routes!(blocks::list)))
        .routes(at("/api/admin/users/{kind}/{id}/block", routes!(blocks::block, blocks::unblock)))
        .routes(at("/api/platform/tenants", routes!(tenants::create, tenants::list)))
        .routes(at("/api/platform/tenants/{id}", routes!(tenants::get, tenants::set)))
        .routes(at("/api/platform/tenants/{id}/usage", routes!(tenants::usage)))
        .routes(at("/api/platform/tenants/{id}/issuers", routes!(issuers::add, issuers::list)))
        .routes(at("/api/platform/tenants/{id}/issuers/{issuer}", routes!(issuers::remove)))
        .routes(at("/ws", routes!(socket::connect)))
        .routes(at("/socket.io/", routes!(socketio::handle, socketio::packets)).map(|handlers| handlers.fallback(socketio::handle)))
}

/// Adds the layers of every answer.
pub fn layered(router: Router, gateway: &Arc<Gateway>) -> Router {
    let cors = cors(&gateway.config.cors_origins);
    let router = router
        .fallback(async || Error::RouteNotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), answers::layer))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), limits::layer))
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), problem::layer));
    let router = if traces::is_on() {
        router.layer(middleware::from_fn_with_state(Arc::clone(gateway), traced))
    } else {
        router
    };
    router
        .layer(cors)
        .layer(always("x-content-type-options", "nosniff"))
        .layer(always("x-frame-options", "DENY"))
        .layer(always("referrer-policy", "no-referrer"))
        .layer(always("content-security-policy", CONTENT_SECURITY_POLICY))
        // Conversations must not be cached. A page that may be cached sets its own header.
        .layer(always("cache-control", "no-store"))
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), hsts::layer))
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), carried::layer))
}

/// Everything comes from this node. `connect-src 'self'` covers a socket to the same host.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn always(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    let name = HeaderName::from_static(name);
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

fn cors(origins: &Origins) -> CorsLayer {
    let layer = match origins.clone() {
        // Without credentials: browsers accept none with a wildcard.
        Origins::Any => CorsLayer::new().allow_origin(AllowOrigin::any()),
        listed @ Origins::These(_) => {
            let is_listed = move |origin: &HeaderValue, _: &Parts| listed.allow(origin.as_bytes());
            CorsLayer::new()
                .allow_origin(AllowOrigin::predicate(is_listed.clone()))
                // A client that requests credentials gains nothing by them, but would fail without this
                // header.
                .allow_credentials(AllowCredentials::predicate(is_listed))
        }
    };
    layer
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE])
        // Pages send headers of their own (`extraHeaders`), and of tools like Sentry. None of them is trusted
        // here.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([problem::REQUEST_ID, header::RETRY_AFTER])
        .max_age(std::time::Duration::from_secs(600))
}
