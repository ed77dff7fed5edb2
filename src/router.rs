//! Every route, one per line.

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
    app::App,
    asyncapi,
    error::Error,
    http::origins::Origins,
    http::{
        admin, answers, audit, blocks, carried, chats, docs, health, hsts, images, limits,
        messages, problem, search, socket, socketio, traces::layer as traced,
    },
    openapi::{self, at},
    traces,
};

/// Maximum size of a request's body, in bytes: a message with the longest body, in the widest encoding.
const BODY_MAX: usize = 128 * 1024;

/// All routes, with their documentation. The stand-ins' routes, which production does not have, are below.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    routes_of_clients().merge(routes_of_probes()).merge(routes_of_operators())
}

/// Routes on both ports.
#[rustfmt::skip]
fn routes_of_probes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(at("/health/live", routes!(health::live)))
        .routes(at("/health/ready", routes!(health::ready)))
        .routes(at("/version", routes!(health::version)))
}

/// Routes on `ADMIN_PORT` only, if it is set.
#[rustfmt::skip]
fn routes_of_operators() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(at("/health", routes!(health::health)))
        .routes(at("/metrics", routes!(health::metrics)))
        .routes(at("/openapi.json", routes!(openapi::openapi)))
        .routes(at("/asyncapi.json", routes!(asyncapi::asyncapi)))
        .routes(at("/docs", routes!(docs::docs)))
        .routes(at("/docs/", routes!(docs::page)))
        .routes(at("/docs/{file}", routes!(docs::file)))
}

#[rustfmt::skip]
fn routes_of_clients() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(at("/api/chats", routes!(chats::open, chats::list)))
        .routes(at("/api/chats/unread", routes!(chats::unread)))
        .routes(at("/api/chats/search", routes!(search::search)))
        .routes(at("/api/chats/{id}", routes!(chats::get, chats::set)))
        .routes(at("/api/chats/{id}/messages", routes!(messages::send, messages::history)))
        .routes(at("/api/chats/{id}/messages/{message}", routes!(messages::edit, messages::delete)))
        .routes(at("/api/chats/{id}/messages/{message}/reactions/{emoji}", routes!(messages::react, messages::unreact)))
        .routes(at("/api/chats/{id}/read", routes!(messages::read)))
        .routes(at("/api/chats/{id}/images", routes!(images::presign_upload)))
        .routes(at("/api/chats/{id}/images/{image}", routes!(images::fetch)))
        .routes(at("/api/admin/chats/{id}/messages/{message}/edits", routes!(admin::edits)))
        .routes(at("/api/admin/audit", routes!(audit::list)))
        .routes(at("/api/admin/users/blocked", routes!(blocks::list)))
        .routes(at("/api/admin/users/{kind}/{id}/block", routes!(blocks::block, blocks::unblock)))
        .routes(at("/ws", routes!(socket::connect)))
        .routes(at("/socket.io/", routes!(socketio::handle, socketio::packets)).map(|handlers| handlers.fallback(socketio::handle)))
}

/// The routes of `ADMIN_PORT`.
pub(crate) fn for_operators(app: &Arc<App>) -> Router {
    let (router, _) = routes_of_probes().merge(routes_of_operators()).split_for_parts();
    layered(router, Arc::clone(app))
}

/// The routes of `PORT`.
pub(crate) fn router(app: Arc<App>) -> Router {
    let router = if app.config.admin_port.is_some() {
        let (router, _) = routes_of_clients().merge(routes_of_probes()).split_for_parts();
        router.route("/health", axum::routing::get(health::status))
    } else {
        routes().split_for_parts().0
    };
    #[cfg(feature = "embedded")]
    let router =
        if app.issuer.is_some() { router.merge(crate::embedded::router(&app)) } else { router };
    #[cfg(feature = "embedded")]
    let router = match app.images.embedded {
        Some(_) => {
            let object =
                axum::routing::get(crate::embedded::s3::object).put(crate::embedded::s3::object);
            // The path of a bucket, because the signature covers the whole path.
            router.route("/frontdesk-images/{session}/{name}", object)
        }
        None => router,
    };
    layered(router, app)
}

/// Adds the layers of every answer.
fn layered(router: Router<Arc<App>>, app: Arc<App>) -> Router {
    let cors = cors(&app.config.cors_origins);
    let router = router
        .fallback(async || Error::RouteNotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), answers::layer))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(Arc::clone(&app), limits::layer))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), problem::layer));
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
        // Conversations must not be cached. A page that may be cached sets its own header.
        .layer(always("cache-control", "no-store"))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), hsts::layer))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), carried::layer))
        .with_state(app)
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
