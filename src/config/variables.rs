//! Typed access to the environment. An empty variable counts as unset, because container
//! tools pass unset variables as empty ones.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fmt::Display,
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;

use super::{
    ConfigError,
    known::{is_known, nearest},
};

pub(super) struct Variables {
    set: HashMap<String, String>,
    /// Names that were read, set or not.
    read: RefCell<BTreeSet<String>>,
}

/// Prefixes of our variables.
const OURS: [&str; 23] = [
    "ADMIN_",
    "ALLOW_",
    "CLUSTER_",
    "COGNITO_",
    "CORS_",
    "DIRECTORY_",
    "DJANGO_",
    "DRAIN_",
    "EDITS_",
    "LIMIT_",
    "MYSQL_",
    "NODE_ADDR",
    "NODE_TLS_",
    "ONESIGNAL_",
    "OTEL_",
    "OUTBOUND_",
    "PING_",
    "POSTGRES_",
    "PUSH_",
    "REDIS_",
    "S3_",
    "SEARCH_",
    "TRUSTED_",
];

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self { set: variables.into_iter().collect(), read: RefCell::default() }
    }
}

impl Variables {
    pub(super) fn error(variable: &str, problem: &str) -> ConfigError {
        ConfigError::new(variable, problem)
    }

    /// One line for each variable that is set, was not read, and has one of our prefixes or a name
    /// close to a known one.
    pub(super) fn unread(&self) -> Vec<String> {
        let read = self.read.borrow();
        let begins = |name: &str| OURS.iter().any(|beginning| name.starts_with(beginning));
        let unread: BTreeSet<_> = self.set.keys().filter(|name| !read.contains(*name)).collect();
        let said = unread.into_iter().filter_map(|name| match nearest(name) {
            Some(meant) => Some(format!(
                "{name}: is set and has no effect: there is no such variable; is {meant} meant?"
            )),
            None if is_known(name) && begins(name) => Some(format!(
                "{name}: is set and has no effect without another variable, which is not set"
            )),
            None if begins(name) => {
                Some(format!("{name}: is set and has no effect: a node reads no such variable"))
            }
            None => None,
        });
        said.collect()
    }

    /// Error about an unset variable. It names a similar variable that is set.
    pub(super) fn unset(&self, variable: &str, problem: &str) -> ConfigError {
        let mut instead = self.set.keys().filter(|name| nearest(name) == Some(variable));
        match instead.next() {
            Some(name) => Self::error(variable, &format!("{problem} ({name} is set: a slip?)")),
            None => Self::error(variable, problem),
        }
    }

    fn get(&self, variable: &str) -> Option<&String> {
        debug_assert!(is_known(variable), "{variable} is not in known.rs");
        self.read.borrow_mut().insert(variable.to_owned());
        self.set.get(variable)
    }

    pub(super) fn text(&self, variable: &str) -> Option<&str> {
        self.get(variable).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&self, variable: &str, because: &str) -> Result<String, ConfigError> {
        self.text(variable).map(str::to_owned).ok_or_else(|| {
            self.unset(variable, &format!("is not set, and {because} is: both are needed"))
        })
    }

    pub(super) fn secret(&self, variable: &str) -> Option<SecretString> {
        // Not trimmed: a password may contain spaces.
        self.get(variable).filter(|text| !text.is_empty()).map(|text| text.clone().into())
    }

    /// Parses a value. `must_be` describes it in the error.
    pub(super) fn parsed<T: FromStr>(
        &self,
        variable: &str,
        default: T,
        must_be: &str,
    ) -> Result<T, ConfigError> {
        self.text(variable).map_or(Ok(default), |text| {
            let wrong = |_| Self::error(variable, &format!("{text:?}: must be {must_be}"));
            text.parse().map_err(wrong)
        })
    }

    /// Number in a range. `unit` is shown in the error.
    pub(super) fn number<T>(
        &self,
        variable: &str,
        default: T,
        allowed: RangeInclusive<T>,
        unit: &str,
    ) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let (from, to) = (allowed.start(), allowed.end());
        let must_be = format!("a number from {from} to {to} ({unit})");
        let number = self.parsed(variable, default, &must_be)?;
        if allowed.contains(&number) {
            return Ok(number);
        }
        Err(Self::error(variable, &format!("\"{number}\": must be {must_be}")))
    }

    pub(super) fn port(&self, variable: &str, default: u16) -> Result<u16, ConfigError> {
        self.number(variable, default, 0..=u16::MAX, "a TCP port")
    }

    pub(super) fn flag(&self, variable: &str) -> Result<bool, ConfigError> {
        Ok(self.switch(variable)?.unwrap_or(false))
    }

    /// Flag that distinguishes unset from false.
    pub(super) fn switch(&self, variable: &str) -> Result<Option<bool>, ConfigError> {
        match self.text(variable) {
            None => Ok(None),
            Some("false" | "0" | "no") => Ok(Some(false)),
            Some("true" | "1" | "yes") => Ok(Some(true)),
            Some(text) => Err(Self::error(variable, &format!("{text:?}: must be true or false"))),
        }
    }

    pub(super) fn millis(
        &self,
        variable: &str,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        self.number(variable, default, allowed, "milliseconds").map(Duration::from_millis)
    }

    pub(super) fn seconds(
        &self,
        variable: &str,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        self.number(variable, default, allowed, "seconds").map(Duration::from_secs)
    }

    pub(super) fn list(&self, variable: &str) -> Vec<String> {
        let items = self.text(variable).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// HTTP(S) URL without a trailing slash.
    pub(super) fn url(&self, variable: &str) -> Result<Option<String>, ConfigError> {
        let Some(text) = self.text(variable) else { return Ok(None) };
        match reqwest::Url::parse(text) {
            // A password would be logged with the URL.
            Ok(url) if url.password().is_some() || !url.username().is_empty() => {
                Err(Self::error(variable, "must not hold a user or a password"))
            }
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(Some(text.trim_end_matches('/').to_owned()))
            }
            _ => Err(Self::error(variable, "must be a URL that starts with https:// or http://")),
        }
    }
}
