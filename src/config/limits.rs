//! How much one user or one address may ask for. Each limit is off at 0.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use ipnet::IpNet;

use super::{ConfigError, variables::Variables};

/// The largest limit: a bucket's arithmetic must not overflow.
const LIMIT_MAX: u32 = 1_000_000;

/// The longest retention: the arithmetic of times must not overflow.
const RETENTION_MAX_DAYS: u64 = 3_650;

/// What is limited, and whom to believe about addresses.
#[derive(Clone, Debug)]
pub(crate) struct LimitsConfig {
    pub(crate) sends_per_user_s: Option<NonZeroU32>,
    pub(crate) connections_per_user: Option<NonZeroU32>,
    pub(crate) connections_per_address: Option<NonZeroU32>,
    pub(crate) requests_per_address_s: Option<NonZeroU32>,
    /// The bytes that wait for readers at most; none: a part of the memory that there is.
    pub(crate) outbound_memory: Option<usize>,
    pub(crate) opens_per_user_min: Option<NonZeroU32>,
    pub(crate) unanswered_per_user: Option<NonZeroU32>,
    /// How long what a message said before is kept; none: for ever.
    pub(crate) edits_retention: Option<Duration>,
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
            outbound_memory: Self::outbound_memory(variables)?,
            opens_per_user_min: limit("LIMIT_OPENS_PER_USER", 10)?,
            unanswered_per_user: limit("LIMIT_UNANSWERED_PER_USER", 50)?,
            edits_retention: edits_retention(variables)?,
            trusted_proxies: networks(variables, "TRUSTED_PROXIES")?,
        })
    }

    fn outbound_memory(variables: &Variables) -> Result<Option<usize>, ConfigError> {
        let variable = "OUTBOUND_MEMORY_MIB";
        let Some(text) = variables.text(variable) else { return Ok(None) };
        let problem = "must be from 16 to 1048576";
        match text.parse() {
            Ok(mib @ 16..=1_048_576_usize) => Ok(Some(mib * 1024 * 1024)),
            _ => Err(Variables::error(variable, problem)),
        }
    }
}

/// How long what a message said before it was edited or deleted is kept.
fn edits_retention(variables: &Variables) -> Result<Option<Duration>, ConfigError> {
    let variable = "EDITS_RETENTION_DAYS";
    match variables.parsed(variable, 30_u64)? {
        0 => Ok(None),
        days if days <= RETENTION_MAX_DAYS => Ok(Some(Duration::from_hours(days * 24))),
        _ => {
            let problem = format!("must be at most {RETENTION_MAX_DAYS}, or 0 for ever");
            Err(Variables::error(variable, &problem))
        }
    }
}

/// A query that says who may talk to whom.
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

/// A list of addresses and networks.
pub(super) fn networks(variables: &Variables, variable: &str) -> Result<Vec<IpNet>, ConfigError> {
    let parse = |item: &String| {
        let net = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
        let problem = "must be a list of addresses and networks like 10.0.0.0/8, 192.168.1.7";
        net.map_err(|_| Variables::error(variable, problem))
    };
    variables.list(variable).iter().map(parse).collect()
}
