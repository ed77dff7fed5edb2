//! Limits per user and per address. 0 turns a limit off.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use ipnet::IpNet;

use super::{ConfigError, variables::Variables};

/// Maximum of a limit: a bucket's arithmetic must not overflow.
const LIMIT_MAX: u32 = 1_000_000;

/// Minimum memory budget of outbound data.
const OUTBOUND_MIN_MIB: usize = 16;

/// Maximum retention: the arithmetic of times must not overflow.
const RETENTION_MAX_DAYS: u64 = 3_650;

/// Limits, and the proxies that determine addresses.
#[derive(Clone, Debug)]
pub(crate) struct LimitsConfig {
    pub(crate) sends_per_user_s: Option<NonZeroU32>,
    pub(crate) connections_per_user: Option<NonZeroU32>,
    pub(crate) connections_per_address: Option<NonZeroU32>,
    pub(crate) requests_per_address_s: Option<NonZeroU32>,
    /// Maximum bytes of outbound data in memory. `None`: a share of the available memory.
    pub(crate) outbound_memory: Option<usize>,
    pub(crate) opens_per_user_min: Option<NonZeroU32>,
    pub(crate) unanswered_per_user: Option<NonZeroU32>,
    /// Retention of earlier versions of messages. `None`: for ever.
    pub(crate) edits_retention: Option<Duration>,
    /// Proxies whose `X-Forwarded-For` counts.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl LimitsConfig {
    pub(super) fn read(variables: &Variables) -> Result<Self, ConfigError> {
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
            outbound_memory: Self::outbound_memory(variables)?,
            opens_per_user_min: limit("LIMIT_OPENS_PER_USER", 10, "sessions a minute")?,
            unanswered_per_user: limit("LIMIT_UNANSWERED_PER_USER", 50, "sessions")?,
            edits_retention: edits_retention(variables)?,
            trusted_proxies: networks(variables, "TRUSTED_PROXIES")?,
        })
    }

    fn outbound_memory(variables: &Variables) -> Result<Option<usize>, ConfigError> {
        let variable = "OUTBOUND_MEMORY_MIB";
        if variables.text(variable).is_none() {
            return Ok(None);
        }
        let mib =
            variables.number(variable, OUTBOUND_MIN_MIB, OUTBOUND_MIN_MIB..=1_048_576, "MiB")?;
        Ok(Some(mib * 1024 * 1024))
    }
}

/// Retention of the text of a message from before it was edited or deleted.
fn edits_retention(variables: &Variables) -> Result<Option<Duration>, ConfigError> {
    let unit = "days; 0: for ever";
    let days = variables.number("EDITS_RETENTION_DAYS", 30, 0..=RETENTION_MAX_DAYS, unit)?;
    Ok((days > 0).then(|| Duration::from_hours(days * 24)))
}

/// Query that returns a row if two people may talk.
pub(super) fn may_talk_query(variables: &Variables) -> Result<Option<String>, ConfigError> {
    let variable = "MYSQL_MAY_TALK_QUERY";
    match variables.text(variable) {
        Some(query) if query.matches('?').count() != 2 => {
            let problem = "must hold two ?, for the customer's id and the dentist's";
            Err(Variables::error(variable, problem))
        }
        query => Ok(query.map(str::to_owned)),
    }
}

/// List of addresses and networks.
pub(super) fn networks(variables: &Variables, variable: &str) -> Result<Vec<IpNet>, ConfigError> {
    let parse = |item: &String| {
        let net = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
        let problem = "must be a list of addresses and networks like 10.0.0.0/8, 192.168.1.7";
        net.map_err(|_| Variables::error(variable, problem))
    };
    variables.list(variable).iter().map(parse).collect()
}
