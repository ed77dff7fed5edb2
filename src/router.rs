//! Every route, a line each.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, Method, header},
    middleware,
    routing::{any, get, patch, post, put},
};
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
    set_header::SetResponseHeaderLayer,
};

use crate::{
    app::App,
    error::Error,
    http::{
        admin, blocks, chats, health, images, limits, messages, problem, search, socket, socketio,
        traces::layer as traced,
    },
    traces,
};

/// The largest body of a request, in bytes: a message of the longest body, in the widest encoding.
const BODY_MAX: usize = 128 * 1024;

pub(crate) fn router(app: Arc<App>) -> Router {
    let cors = cors(&app.config.cors_origins);
    let router = Router::new()
        .route("/api/chats", post(chats::open).get(chats::list))
        .route("/api/chats/unread", get(chats::unread))
        .route("/api/chats/search", get(search::search))
        .route("/api/chats/{id}", get(chats::get).patch(chats::set))
        .route("/api/chats/{id}/messages", post(messages::send).get(messages::history))
        .route("/api/chats/{id}/messages/{message}", patch(messages::edit).delete(messages::delete))
        .route(
            "/api/chats/{id}/messages/{message}/reactions/{emoji}",
            put(messages::react).delete(messages::unreact),
        )
        .route("/api/chats/{id}/read", post(messages::read))
        .route("/api/chats/{id}/images", post(images::invite))
        .route("/api/chats/{id}/images/{image}", get(images::fetch))
        .route("/api/admin/chats/{id}/messages/{message}/edits", get(admin::edits))
        .route("/api/admin/users/blocked", get(blocks::list))
        .route("/api/admin/users/{kind}/{id}/block", put(blocks::block).delete(blocks::unblock))
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/version", get(health::version))
        .route("/ws", get(socket::connect))
        .route("/socket.io/", any(socketio::handle));
    #[cfg(feature = "embedded")]
    let router =
        if app.issuer.is_some() { router.merge(crate::embedded::router()) } else { router };
    #[cfg(feature = "embedded")]
    let router = match app.images.embedded {
        Some(_) => {
            let object = get(crate::embedded::s3::object).put(crate::embedded::s3::object);
            // As a bucket's: the signature is over the whole path.
            router.route("/frontdesk-images/{session}/{name}", object)
        }
        None => router,
    };
    let router = router
        .fallback(async || Error::RouteNotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(Arc::clone(&app), limits::layer))
        .layer(middleware::from_fn(problem::layer));
    let router = if traces::is_on() {
        router.layer(middleware::from_fn_with_state(Arc::clone(&app), traced))
    } else {
        router
    };
    router
        .layer(cors)
        .layer(always("x-content-type-options", "nosniff"))
        .layer(always("x-frame-options", "DENY"))
        .layer(always("referrer-policy", "no-referrer"))
        .layer(always("content-security-policy", CONTENT_SECURITY_POLICY))
        // Conversations are not for caches. A page that is made for them says so itself.
        .layer(always("cache-control", "no-store"))
        .with_state(app)
}

/// Nothing comes from elsewhere; `connect-src 'self'` covers a socket to the same host.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn always(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    let name = HeaderName::from_static(name);
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

fn cors(origins: &[String]) -> CorsLayer {
    let allowed = if origins.is_empty() {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        // A client that asks for them gets nothing by it, and would not go on without.
        .allow_credentials(!origins.is_empty())
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            problem::REQUEST_ID,
            traces::TRACEPARENT,
        ])
        .expose_headers([problem::REQUEST_ID, header::RETRY_AFTER])
        .max_age(std::time::Duration::from_secs(600))
}
