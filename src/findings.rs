//! Results of the checks behind `/health`, and their cache.

use std::{collections::BTreeMap, time::Duration};

use moka::future::Cache;
use serde::Serialize;
use utoipa::ToSchema;

/// State of a part.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    Up,
    Down,
    /// The part is in this process.
    Embedded,
    /// The part is not configured.
    Off,
}

#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct Services {
    pub(crate) postgres: Part,
    pub(crate) redis: Part,
    pub(crate) mysql: Part,
    pub(crate) s3: Part,
}

/// Reasons by the name of the service.
pub(crate) type Reasons = BTreeMap<String, String>;

/// Last findings, kept for a second: frequent requests are no work for the parts, and concurrent ones share one
/// check.
pub(crate) struct Findings {
    pub(crate) store: Cache<(), Part>,
    pub(crate) services: Cache<(), (Services, Reasons)>,
}

impl Findings {
    pub(crate) fn new() -> Self {
        Self { store: recent(), services: recent() }
    }
}

fn recent<T: Clone + Send + Sync + 'static>() -> Cache<(), T> {
    Cache::builder().max_capacity(1).time_to_live(Duration::from_secs(1)).build()
}
