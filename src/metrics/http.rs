//! Requests, by their route: never by their path.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::histogram::Histogram;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    /// As the router has it, with its parameters' names.
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: String,
    method: &'static str,
    status: u16,
}

/// What was asked and answered.
#[derive(Debug)]
pub(crate) struct HttpCounts {
    requests: Family<Answer, Counter>,
    took: Family<Route, Histogram>,
}

impl HttpCounts {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let (requests, took) = (Family::default(), Family::default());
        let help = "Requests that were answered, by route, method and status";
        registry.register("http_requests", help, Family::clone(&requests));
        let help = "Time to the answer's head, by route and method";
        registry.register("http_request_seconds", help, Family::clone(&took));
        Self { requests, took }
    }

    pub(crate) fn answered(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let method = known(method);
        let (route, status) = (route.to_owned(), status.as_u16());
        self.requests.get_or_create(&Answer { route: route.clone(), method, status }).inc();
        self.took.get_or_create(&Route { route, method }).took(took);
    }
}

/// A method's name, which a client may make up.
fn known(method: &Method) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
