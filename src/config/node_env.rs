//! `NODE_ENV`: production or not.

use super::{ConfigError, Variables};

/// Refuses unknown names: a node that took `prod` for development would issue tokens to anyone.
pub(super) fn is_production(variables: &Variables) -> Result<bool, ConfigError> {
    let Some(name) = variables.text("NODE_ENV") else { return Ok(false) };
    let take = match name.to_lowercase().as_str() {
        _ if name == "production" => return Ok(true),
        _ if name == "development" || name == "test" => return Ok(false),
        "production" | "prod" | "prd" | "live" => "set production",
        "staging" | "stage" | "stg" | "preprod" | "pre-production" | "uat" | "qa" => {
            "set production for staging too"
        }
        "development" | "dev" | "develop" | "local" => "set development",
        "test" | "testing" | "ci" => "set test",
        _ => "set one of them",
    };
    let problem = format!("{name:?}: must be production, development or test; {take}");
    Err(Variables::error("NODE_ENV", &problem))
}
