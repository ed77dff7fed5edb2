//! The environment as typed look-ups. A variable that is set to nothing counts as unset, as
//! container tools set it so.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fmt::Display,
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;

use super::ConfigError;

pub(super) struct Variables {
    set: HashMap<String, String>,
    /// Which were asked for, set or not.
    read: RefCell<BTreeSet<String>>,
}

/// How variables of ours begin.
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

    /// Those of ours, by their names' beginnings, that are set and were not asked for: misspelt, or of no
    /// effect without another one.
    pub(super) fn unread(&self) -> Vec<String> {
        let read = self.read.borrow();
        let begins = |name: &str| OURS.iter().any(|beginning| name.starts_with(beginning));
        let nearly = |name: &str| read.iter().any(|known| is_nearly(name, known));
        let unread = self.set.keys().filter(|name| !read.contains(*name));
        let unread = unread.filter(|name| begins(name) || nearly(name));
        unread.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn get(&self, variable: &str) -> Option<&String> {
        self.read.borrow_mut().insert(variable.to_owned());
        self.set.get(variable)
    }

    pub(super) fn text(&self, variable: &str) -> Option<&str> {
        self.get(variable).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&self, variable: &str, because: &str) -> Result<String, ConfigError> {
        self.text(variable).map(str::to_owned).ok_or_else(|| {
            Self::error(variable, &format!("is not set, and {because} is: both are needed"))
        })
    }

    pub(super) fn secret(&self, variable: &str) -> Option<SecretString> {
        // Not trimmed: a blank may be part of a password.
        self.get(variable).filter(|text| !text.is_empty()).map(|text| text.clone().into())
    }

    pub(super) fn parsed<T>(&self, variable: &str, default: T) -> Result<T, ConfigError>
    where
        T: FromStr<Err: Display>,
    {
        self.text(variable).map_or(Ok(default), |text| {
            text.parse().map_err(|problem| Self::error(variable, &format!("{text:?}: {problem}")))
        })
    }

    pub(super) fn flag(&self, variable: &str) -> Result<bool, ConfigError> {
        Ok(self.switch(variable)?.unwrap_or(false))
    }

    /// A flag for which it matters whether it is set at all.
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
        let millis = self.parsed(variable, default)?;
        if allowed.contains(&millis) {
            return Ok(Duration::from_millis(millis));
        }
        let (from, to) = allowed.into_inner();
        Err(Self::error(variable, &format!("{millis}: must be from {from} to {to} milliseconds")))
    }

    pub(super) fn seconds(
        &self,
        variable: &str,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        let seconds = self.parsed(variable, default)?;
        if allowed.contains(&seconds) {
            return Ok(Duration::from_secs(seconds));
        }
        let (from, to) = allowed.into_inner();
        Err(Self::error(variable, &format!("{seconds}: must be from {from} to {to} seconds")))
    }

    pub(super) fn list(&self, variable: &str) -> Vec<String> {
        let items = self.text(variable).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A URL over HTTP(S), without a slash at its end.
    pub(super) fn url(&self, variable: &str) -> Result<Option<String>, ConfigError> {
        let Some(text) = self.text(variable) else { return Ok(None) };
        match reqwest::Url::parse(text) {
            // It would be logged with the URL.
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

/// Whether it may well be the other name, misspelt. Short names are near to many.
fn is_nearly(name: &str, known: &str) -> bool {
    name.len() >= 7 && strsim::damerau_levenshtein(name, known) <= 2
}
