//! Limits per user and per address. 0 turns a limit off.

use std::num::NonZeroU32;

use ipnet::IpNet;

use platform::variables::{ConfigError, Variables};

/// Maximum of a limit: a bucket's arithmetic must not overflow.
const LIMIT_MAX: u32 = 1_000_000;

/// Limits, and the proxies that determine addresses.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Sends of a user in a second.
    pub sends_per_user_s: Option<NonZeroU32>,
    /// Connections of a user.
    pub connections_per_user: Option<NonZeroU32>,
    /// Connections of an address.
    pub connections_per_address: Option<NonZeroU32>,
    /// Requests of an address in a second.
    pub requests_per_address_s: Option<NonZeroU32>,
    /// Sessions that a user opens in a minute.
    pub opens_per_user_min: Option<NonZeroU32>,
    /// Sessions of a customer that wait for their first answer.
    pub unanswered_per_user: Option<NonZeroU32>,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
}

impl LimitsConfig {
    /// Reads the settings.
    pub fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let limit = |variable: &str, default: u32, unit: &str| {
            let unit = format!("{unit}; 0: no limit");
            variables.number(variable, default, 0..=LIMIT_MAX, &unit).map(NonZeroU32::new)
        };
        Ok(Self {
            sends_per_user_s: limit("LIMIT_SENDS_PER_USER_S", 20, "messages a second")?,
            connections_per_user: limit("LIMIT_CONNECTIONS_PER_USER", 20, "sockets")?,
            connections_per_address: limit("LIMIT_CONNECTIONS_PER_ADDRESS", 1_000, "sockets")?,
            requests_per_address_s: limit(
                "LIMIT_REQUESTS_PER_ADDRESS_S",
                100,
                "requests a second",
            )?,
            opens_per_user_min: limit("LIMIT_OPENS_PER_USER", 10, "sessions a minute")?,
            unanswered_per_user: limit("LIMIT_UNANSWERED_PER_USER", 50, "sessions")?,
            trusted_proxies: variables.networks("TRUSTED_PROXIES")?,
        })
    }
}
