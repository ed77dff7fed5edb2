//! Typed access to the environment. An empty variable counts as unset, because container
//! tools pass unset variables as empty ones.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fmt::Display,
    net::IpAddr,
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;

/// Error in one variable: a single line that names it and never holds a secret's value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    variable: String,
    problem: String,
}

impl ConfigError {
    /// The problem of a variable. It must not quote a secret's value.
    pub fn new(variable: &str, problem: &str) -> Self {
        Self { variable: variable.to_owned(), problem: problem.to_owned() }
    }
}

/// URL without its query, which may hold a key, for display.
pub fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Whether a text is an HTTP(S) URL without a user and a password: those would be logged with it. Characters that a
/// parser of URLs leaves out are refused.
pub fn is_plain_url(text: &str) -> bool {
    let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
    !text.contains(is_odd)
        && reqwest::Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && !has_user(&url)
        })
}

fn has_user(url: &reqwest::Url) -> bool {
    url.password().is_some() || !url.username().is_empty()
}

/// Names of a program's variables. They serve to report slips.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// All names, in order.
    pub known: &'static [&'static str],
    /// Prefixes that no other program's variables have.
    pub prefixes: &'static [&'static str],
}

/// Up to `SHORT` letters a name is too close to many others. From `LONG` on, a third edit may be a slip.
const SHORT: usize = 6;
const LONG: usize = 12;

impl Names {
    /// Whether a variable has this name.
    fn has(&self, name: &str) -> bool {
        self.known.binary_search(&name).is_ok()
    }

    /// Variable that an unknown name probably means: it differs in a few letters, or has a suffix.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        if self.has(name) {
            return None;
        }
        let nearest = self
            .known
            .iter()
            .copied()
            .min_by_key(|known| strsim::damerau_levenshtein(name, known))?;
        if is_near(name, nearest) {
            return Some(nearest);
        }
        let goes_on = |known: &&str| name.strip_prefix(known).is_some_and(|rest| rest.len() <= 4);
        self.known.iter().copied().filter(|known| known.len() > SHORT).rfind(goes_on)
    }
}

fn is_near(name: &str, known: &str) -> bool {
    let slips = match name.len() {
        0..=SHORT => 0,
        LONG.. => 3,
        _ => 2,
    };
    strsim::damerau_levenshtein(name, known) <= slips
}

/// The variables that are set.
pub struct Variables {
    set: HashMap<String, String>,
    names: Names,
    /// Names that were read, set or not.
    read: RefCell<BTreeSet<String>>,
}

impl Variables {
    /// The variables that are set, and the names that the program knows.
    pub fn new(set: impl IntoIterator<Item = (String, String)>, names: Names) -> Self {
        Self { set: set.into_iter().collect(), names, read: RefCell::default() }
    }

    /// Variables with these values, for tests of a part's settings.
    pub fn of(values: &[(&str, &str)]) -> Self {
        let set = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::new(set, Names { known: &[], prefixes: &[] })
    }

    /// The problem of a variable.
    pub fn error(variable: &str, problem: &str) -> ConfigError {
        ConfigError::new(variable, problem)
    }

    /// One line for each variable that is set, was not read, and has one of our prefixes or a name
    /// close to a known one.
    pub fn unread(&self) -> Vec<String> {
        let read = self.read.borrow();
        let begins =
            |name: &str| self.names.prefixes.iter().any(|beginning| name.starts_with(beginning));
        let unread: BTreeSet<_> = self.set.keys().filter(|name| !read.contains(*name)).collect();
        let said = unread.into_iter().filter_map(|name| match self.names.nearest(name) {
            Some(meant) => Some(format!(
                "{name}: is set and has no effect: there is no such variable; is {meant} meant?"
            )),
            None if self.names.has(name) && begins(name) => Some(format!(
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
    pub fn unset(&self, variable: &str, problem: &str) -> ConfigError {
        let mut instead = self.set.keys().filter(|name| self.names.nearest(name) == Some(variable));
        match instead.next() {
            Some(name) => Self::error(variable, &format!("{problem} ({name} is set: a slip?)")),
            None => Self::error(variable, problem),
        }
    }

    fn get(&self, variable: &str) -> Option<&String> {
        debug_assert!(
            self.names.known.is_empty() || self.names.has(variable),
            "{variable} is missing in the list of names"
        );
        self.read.borrow_mut().insert(variable.to_owned());
        self.set.get(variable)
    }

    /// The value without blanks around it. `None` if it is empty.
    pub fn text(&self, variable: &str) -> Option<&str> {
        self.get(variable).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// The value of a variable that another one demands.
    pub fn required(&self, variable: &str, because: &str) -> Result<String, ConfigError> {
        self.text(variable).map(str::to_owned).ok_or_else(|| {
            self.unset(variable, &format!("is not set, and {because} is: both are needed"))
        })
    }

    /// The value of a secret.
    pub fn secret(&self, variable: &str) -> Option<SecretString> {
        // Not trimmed: a password may contain spaces.
        self.get(variable).filter(|text| !text.is_empty()).map(|text| text.clone().into())
    }

    /// Parses a value. `must_be` describes it in the error.
    pub fn parsed<T: FromStr>(
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
    pub fn number<T>(
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

    /// A port.
    pub fn port(&self, variable: &str, default: u16) -> Result<u16, ConfigError> {
        self.number(variable, default, 0..=u16::MAX, "a TCP port")
    }

    /// A switch, off by default.
    pub fn flag(&self, variable: &str) -> Result<bool, ConfigError> {
        Ok(self.switch(variable)?.unwrap_or(false))
    }

    /// Flag that distinguishes unset from false.
    pub fn switch(&self, variable: &str) -> Result<Option<bool>, ConfigError> {
        match self.text(variable) {
            None => Ok(None),
            Some("false" | "0" | "no") => Ok(Some(false)),
            Some("true" | "1" | "yes") => Ok(Some(true)),
            Some(text) => Err(Self::error(variable, &format!("{text:?}: must be true or false"))),
        }
    }

    /// A duration in milliseconds.
    pub fn millis(
        &self,
        variable: &str,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        self.number(variable, default, allowed, "milliseconds").map(Duration::from_millis)
    }

    /// A duration in seconds.
    pub fn seconds(
        &self,
        variable: &str,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        self.number(variable, default, allowed, "seconds").map(Duration::from_secs)
    }

    /// The items of a list with commas.
    pub fn list(&self, variable: &str) -> Vec<String> {
        let items = self.text(variable).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// HTTP(S) URL without a trailing slash.
    pub fn url(&self, variable: &str) -> Result<Option<String>, ConfigError> {
        let Some(text) = self.text(variable) else { return Ok(None) };
        if is_plain_url(text) {
            return Ok(Some(text.trim_end_matches('/').to_owned()));
        }
        let problem = match reqwest::Url::parse(text) {
            Ok(url) if has_user(&url) => "must not hold a user or a password",
            _ => "must be a URL that starts with https:// or http://",
        };
        Err(Self::error(variable, problem))
    }

    /// List of addresses and networks.
    pub fn networks(&self, variable: &str) -> Result<Vec<IpNet>, ConfigError> {
        let parse = |item: &String| {
            let net = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
            let problem = "must be a list of addresses and networks like 10.0.0.0/8, 192.168.1.7";
            net.map_err(|_| Self::error(variable, problem))
        };
        self.list(variable).iter().map(parse).collect()
    }
}
