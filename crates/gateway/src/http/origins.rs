//! `CORS_ORIGINS`: origins whose pages may use the API and open sockets.

use std::str::FromStr;

use platform::variables::{ConfigError, Variables};

const VARIABLE: &str = "CORS_ORIGINS";
/// Schemes that are never part of a page's origin. Browsers send the page's own scheme with a socket,
/// and `null` for a page from a file.
const NO_ORIGIN: [&str; 7] = ["about", "blob", "data", "file", "javascript", "ws", "wss"];

/// Allowed origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every origin.
    Any,
    /// The listed origins.
    These(Vec<Origin>),
}

/// One origin as a browser sends it, or all subdomains of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This origin.
    Exact(String),
    /// Every host below a domain.
    Below {
        /// Such as `https://`.
        scheme: String,
        /// Such as `.example.com`, with a port unless it is the scheme's default.
        domain: String,
    },
}

impl Origins {
    /// `Any` if the variable is unset or `*`.
    pub fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let origins = variables.list(VARIABLE);
        if origins.is_empty() || origins == ["*"] {
            return Ok(Self::Any);
        }
        let parse = |text: &String| {
            text.parse().map_err(|problem: &str| {
                // Text before an `@` may be a password.
                let shown = if text.contains('@') { "an origin" } else { text };
                Variables::error(VARIABLE, &format!("{shown}: {problem}"))
            })
        };
        Ok(Self::These(origins.iter().map(parse).collect::<Result<_, _>>()?))
    }

    /// Whether every origin is allowed.
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }

    /// Whether a page of this origin is allowed. `origin` is the header's value.
    pub fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::These(origins) => origins.iter().any(|allowed| allowed.is(origin)),
        }
    }
}

impl Origin {
    fn is(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == origin,
            Self::Below { scheme, domain } => origin
                .strip_prefix(scheme.as_bytes())
                .and_then(|rest| rest.strip_suffix(domain.as_bytes()))
                .is_some_and(is_name),
        }
    }
}

/// Whether these are labels of a host name.
fn is_name(labels: &[u8]) -> bool {
    let in_label = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    labels.split(|byte| *byte == b'.').all(|label| !label.is_empty() && label.iter().all(in_label))
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Err(
                "must be the only entry, as it allows any origin: remove it, or all others",
            );
        }
        let Some((scheme, host)) = text.split_once("://") else {
            return Err("has no scheme: write https:// before it");
        };
        let scheme = scheme.to_ascii_lowercase();
        let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(in_scheme)
        {
            return Err("has an invalid scheme: write it like https://portal.example");
        }
        if NO_ORIGIN.contains(&scheme.as_str()) {
            return Err(
                "can never match, as no page has this scheme in its origin: write https:// or http://",
            );
        }
        if let Some(host) = host.strip_suffix('/')
            && !host.contains('/')
        {
            return Err("can never match, as an origin has no slash at its end: remove it");
        }
        if host.contains(['/', '?', '#']) {
            return Err(
                "can never match, as an origin has no path: remove what is behind the host",
            );
        }
        if host.contains('@') {
            return Err("can never match, as an origin has no user: remove what is before the @");
        }
        if let Some(domain) = host.strip_prefix("*.").filter(|domain| !domain.contains('*')) {
            return Self::below(&scheme, domain);
        }
        if host.contains('*') {
            return Err(
                "has a * in the wrong place: write https://*.example.com, or * alone for any origin",
            );
        }
        Self::exact(&scheme, host)
    }
}

impl Origin {
    fn exact(scheme: &str, host: &str) -> Result<Self, &'static str> {
        const NO_HOST: &str = "is not an origin: write a scheme, a host and perhaps a port, like https://portal.example:8443";
        if matches!(scheme, "http" | "https") {
            // Browsers send names in lower case and ASCII, without the scheme's default port.
            let url = reqwest::Url::parse(&format!("{scheme}://{host}")).map_err(|_| NO_HOST)?;
            return Ok(Self::Exact(url.origin().ascii_serialization()));
        }
        // Web view of an gateway: capacitor://localhost, ionic://localhost.
        let (name, port) = host.split_once(':').unwrap_or((host, "1"));
        if is_name(name.as_bytes()) && port.parse::<u16>().is_ok() {
            return Ok(Self::Exact(format!("{scheme}://{host}")));
        }
        Err(NO_HOST)
    }

    fn below(scheme: &str, domain: &str) -> Result<Self, &'static str> {
        const TOO_WIDE: &str =
            "allows too much: write two names behind the *. at least, like https://*.example.com";
        if !matches!(scheme, "http" | "https") {
            return Err("has a * with a scheme of an gateway: write the host as it is");
        }
        let url = reqwest::Url::parse(&format!("{scheme}://{domain}")).map_err(|_| TOO_WIDE)?;
        if !url.domain().is_some_and(|domain| domain.trim_end_matches('.').contains('.')) {
            return Err(TOO_WIDE);
        }
        let origin = url.origin().ascii_serialization();
        let (_, domain) = origin.split_once("://").ok_or(TOO_WIDE)?;
        Ok(Self::Below { scheme: format!("{scheme}://"), domain: format!(".{domain}") })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use platform::variables::Names;

    /// Parses a list as an operator writes it.
    pub(crate) fn origins(list: &str) -> Result<Origins, String> {
        let names = Names { known: &[VARIABLE], prefixes: &[] };
        let set = std::iter::once((VARIABLE.to_owned(), list.to_owned()));
        let variables = Variables::new(set, names);
        Origins::read(&variables).map_err(|error| error.to_string())
    }

    #[test]
    fn b17_pages_apps_and_subdomains_are_allowed_as_they_are_listed() {
        let list = "https://portal.example, https://*.clinic.example,http://*.dev.example:8080,\
                    capacitor://localhost, ionic://localhost, https://Bücher.example:443";
        let origins = origins(list).unwrap();
        for allowed in [
            "https://portal.example",
            "https://a.clinic.example",
            "https://b.a.clinic.example",
            "http://a.dev.example:8080",
            "capacitor://localhost",
            "ionic://localhost",
            "https://xn--bcher-kva.example",
        ] {
            assert!(origins.allow(allowed.as_bytes()), "{allowed}");
        }
        for foreign in [
            "https://portal.example.evil.test",
            "https://evilportal.example",
            "http://portal.example",
            "https://portal.example:444",
            "https://clinic.example",
            "https://evilclinic.example",
            "https://.clinic.example",
            "https://evil.test/.clinic.example",
            "https://evil.test#.clinic.example",
            "https://evil.test:1.clinic.example",
            "https://x@a.clinic.example",
            "https://a.clinic.example:444",
            "https://a.dev.example:8080",
            "http://a.dev.example",
            "capacitor://evil",
            "https://localhost",
            "null",
            "",
        ] {
            assert!(!origins.allow(foreign.as_bytes()), "{foreign}");
        }
    }

    #[test]
    fn an_origin_that_can_never_match_is_refused_with_what_to_write() {
        for (origin, problem) in [
            ("https://a.example/", "slash"),
            ("https://a.example/path", "path"),
            ("https://a.example/path/", "path"),
            ("https://a.example?x", "path"),
            ("a.example", "scheme"),
            ("null", "scheme"),
            ("//a.example", "scheme"),
            ("wss://a.example", "https://"),
            ("file://", "https://"),
            ("h ttps://a.example", "scheme"),
            ("https://", "host"),
            ("https://a.example:99999", "host"),
            ("capacitor://", "host"),
            ("capacitor://local host", "host"),
            ("https://*", "wrong place"),
            ("https://a.*.example", "wrong place"),
            ("https://*a.example", "wrong place"),
            ("https://*.*.example", "wrong place"),
            ("https://a.example:*", "wrong place"),
            ("https://*.com", "two names"),
            ("https://*.10.0.0.1", "two names"),
            ("capacitor://*.local.host", "gateway"),
            ("*,https://a.example", "only entry"),
        ] {
            let refused = origins(origin).expect_err(origin);
            assert!(refused.starts_with("CORS_ORIGINS: "), "{refused}");
            assert!(refused.contains(problem), "{origin}: {refused}");
        }
        let secret = origins("https://me:secret@a.example").unwrap_err();
        assert!(secret.contains("user") && !secret.contains("secret"), "{secret}");
        for any in ["*", "", " , "] {
            assert_eq!(origins(any), Ok(Origins::Any));
        }
    }
}
