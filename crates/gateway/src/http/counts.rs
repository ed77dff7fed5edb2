//! Requests, by route and never by path.

use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use platform::metrics::Histogram;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    /// Pattern of the router, with the names of its parameters.
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: String,
    method: &'static str,
    status: u16,
}

/// Answered requests, and their durations.
#[derive(Clone, Debug)]
pub struct HttpCounts {
    requests: Family<Answer, Counter>,
    took: Family<Route, Histogram>,
}

impl HttpCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let (requests, took) = (Family::default(), Family::default());
        let help = "Answered requests, by route, method and status";
        registry.register("http_requests", help, Family::clone(&requests));
        let help = "Time to the head of the answer, by route and method";
        registry.register("http_request_seconds", help, Family::clone(&took));
        Self { requests, took }
    }

    /// Counts an answered request. `method` is one of the known names, because a client may make one up.
    pub fn answered(&self, route: &str, method: &'static str, status: StatusCode, took: Duration) {
        let (route, status) = (route.to_owned(), status.as_u16());
        self.requests.get_or_create(&Answer { route: route.clone(), method, status }).inc();
        self.took.get_or_create(&Route { route, method }).took(took);
    }
}
