//! The routes of both ports: those of the gateway, and those of this node for machines and operators.

use std::sync::Arc;

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{docs, health, modules::Modules, openapi, scrape};
use platform::openapi::at;

/// The routes of this node, with their documentation. The stand-ins' routes, which production does not have,
/// are below.
pub(crate) fn routes() -> OpenApiRouter<Arc<Modules>> {
    routes_of_probes().merge(routes_of_operators())
}

/// Routes on both ports.
#[rustfmt::skip]
fn routes_of_probes() -> OpenApiRouter<Arc<Modules>> {
    OpenApiRouter::new()
        .routes(at("/health/live", routes!(health::live)))
        .routes(at("/health/ready", routes!(health::ready)))
        .routes(at("/version", routes!(health::version)))
}

/// Routes on `ADMIN_PORT` only, if it is set.
#[rustfmt::skip]
fn routes_of_operators() -> OpenApiRouter<Arc<Modules>> {
    OpenApiRouter::new()
        .routes(at("/health", routes!(health::health)))
        .routes(at("/metrics", routes!(scrape::metrics)))
        .routes(at("/openapi.json", routes!(openapi::openapi)))
        .routes(at("/asyncapi.json", routes!(openapi::asyncapi)))
        .routes(at("/docs", routes!(docs::docs)))
        .routes(at("/docs/", routes!(docs::page)))
        .routes(at("/docs/{file}", routes!(docs::file)))
}

/// The routes of `ADMIN_PORT`.
pub(crate) fn for_operators(modules: &Arc<Modules>) -> Router {
    let (router, _) = routes().split_for_parts();
    gateway::routes::layered(router.with_state(Arc::clone(modules)), &modules.gateway)
}

/// The routes of `PORT`.
pub(crate) fn router(modules: &Arc<Modules>) -> Router {
    let of_node = if modules.config.admin_port.is_some() {
        let (router, _) = routes_of_probes().split_for_parts();
        router.route("/health", axum::routing::get(health::status))
    } else {
        routes().split_for_parts().0
    };
    let (of_clients, _) = gateway::routes::routes().split_for_parts();
    let of_clients = of_clients.with_state(Arc::clone(&modules.gateway));
    let router = of_clients.merge(of_node.with_state(Arc::clone(modules)));
    #[cfg(feature = "embedded")]
    let router = router.merge(crate::embedded::routes(&modules.embedded));
    gateway::routes::layered(router, &modules.gateway)
}
