//! How much one user or one address may ask for. Each limit is off at 0.

use std::{net::IpAddr, num::NonZeroU32};

use ipnet::IpNet;

use super::{ConfigError, variables::Variables};

/// The largest limit: a bucket's arithmetic must not overflow.
const LIMIT_MAX: u32 = 1_000_000;

/// What is limited, and whom to believe about addresses.
#[derive(Clone, Debug)]
pub(crate) struct LimitsConfig {
    pub(crate) sends_per_user_s: Option<NonZeroU32>,
    pub(crate) connections_per_user: Option<NonZeroU32>,
    pub(crate) connections_per_address: Option<NonZeroU32>,
    pub(crate) requests_per_address_s: Option<NonZeroU32>,
    /// Whose `X-Forwarded-For` counts.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl LimitsConfig {
    pub(super) fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let limit = |variable: &str, default: u32| match variables.parsed(variable, default)? {
            limit if limit > LIMIT_MAX => {
                let problem = format!("must be at most {LIMIT_MAX}, or 0 for no limit");
                Err(Variables::error(variable, &problem))
            }
            limit => Ok(NonZeroU32::new(limit)),
        };
        Ok(Self {
            sends_per_user_s: limit("LIMIT_SENDS_PER_USER_S", 20)?,
            connections_per_user: limit("LIMIT_CONNECTIONS_PER_USER", 20)?,
            connections_per_address: limit("LIMIT_CONNECTIONS_PER_ADDRESS", 1_000)?,
            requests_per_address_s: limit("LIMIT_REQUESTS_PER_ADDRESS_S", 100)?,
            trusted_proxies: networks(variables, "TRUSTED_PROXIES")?,
        })
    }
}

/// A list of addresses and networks.
pub(super) fn networks(variables: &Variables, variable: &str) -> Result<Vec<IpNet>, ConfigError> {
    let parse = |item: &String| {
        let net = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
        let problem = "must be a list of addresses and networks like 10.0.0.0/8, 192.168.1.7";
        net.map_err(|_| Variables::error(variable, problem))
    };
    variables.list(variable).iter().map(parse).collect()
}
