//! Production checks of a complete configuration, each with a name and a verdict.

use secrecy::ExposeSecret;

use super::{Config, ConfigError, Variables};
use platform::tls::{Tls, is_plain_beyond_this_machine};

/// Minimum length of an HS256 key in bytes (RFC 7518, 3.2). A shorter key can be guessed from a token.
const HS256_KEY_MIN: usize = 32;

/// A check. `ALLOW_INSECURE` refers to it by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
}

/// Verdict of a check. A problem begins with the variable's name and ends with the action to take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    /// Insecure, but listed in `ALLOW_INSECURE`.
    Allowed,
    Warning(String),
    /// The node does not start.
    Refused(ConfigError),
}

/// Checks that `ALLOW_INSECURE` may name. The others are confirmed by a variable of their own.
const ALLOWABLE: [&str; 5] =
    ["http-issuer", "http-s3", "short-secret", "any-client", "redis-password"];

/// Names in `ALLOW_INSECURE`.
pub(super) fn allowed(variables: &Variables) -> Result<Vec<&'static str>, ConfigError> {
    let known = |name: &String| {
        ALLOWABLE.into_iter().find(|known| known == name).ok_or_else(|| {
            let problem = format!("{name:?}: must be a list of {}", ALLOWABLE.join(", "));
            Variables::error("ALLOW_INSECURE", &problem)
        })
    };
    variables.list("ALLOW_INSECURE").iter().map(known).collect()
}

impl Config {
    /// All checks with their verdicts. Empty outside production.
    pub(crate) fn checks(&self) -> Vec<Check> {
        if !self.production {
            return Vec::new();
        }
        let mut checks = vec![
            self.check("http-issuer", self.issuer_over_http()),
            self.check("short-secret", self.short_secret().map(Verdict::Warning)),
            self.check("any-client", self.any_client().map(Verdict::Warning)),
            self.check("any-origin", self.any_origin().map(Verdict::Warning)),
            self.check("trusted-proxies", self.no_proxies().map(Verdict::Warning)),
            self.check("redis-password", self.no_redis_password().map(Verdict::Warning)),
            self.check("http-s3", self.s3_over_http().map(Verdict::Warning)),
        ];
        checks.extend(self.encryption().map(|(name, tls, variable)| {
            let problem = format!(
                "{variable}: is not set: the connection is plain text if the server offers no \
                 verified TLS; set true to require TLS, or false to accept plain text"
            );
            let undecided = tls == Some(Tls::Preferred);
            self.check(name, undecided.then_some(Verdict::Warning(problem)))
        }));
        checks
    }

    /// The first refusal of this configuration.
    pub(crate) fn refusal(&self) -> Option<ConfigError> {
        self.checks().into_iter().find_map(|check| match check.verdict {
            Verdict::Refused(problem) => Some(problem),
            _ => None,
        })
    }

    /// Warnings that a node logs at its start. It warns of plain text elsewhere, once it knows what the
    /// server offers.
    pub(super) fn check_warnings(&self) -> impl Iterator<Item = String> {
        let encryption = self.encryption().map(|(name, ..)| name);
        let checks = self.checks().into_iter();
        checks.filter(move |check| !encryption.contains(&check.name)).filter_map(
            |check| match check.verdict {
                Verdict::Warning(problem) => Some(problem),
                _ => None,
            },
        )
    }

    fn check(&self, name: &'static str, found: Option<Verdict>) -> Check {
        let verdict = match found {
            None => Verdict::Ok,
            Some(_) if self.allow_insecure.contains(&name) => Verdict::Allowed,
            Some(verdict) => verdict,
        };
        Check { name, verdict }
    }

    fn encryption(&self) -> [(&'static str, Option<Tls>, &'static str); 3] {
        [
            ("postgres-tls", self.postgres.as_ref().map(|it| it.tls), "POSTGRES_TLS"),
            ("redis-tls", self.redis.as_ref().map(|it| it.tls), "REDIS_TLS"),
            ("mysql-tls", self.mysql.as_ref().map(|it| it.tls), "MYSQL_TLS"),
        ]
    }

    fn issuer_over_http(&self) -> Option<Verdict> {
        let cognito = self.tokens.cognito.as_ref().map(|it| ("COGNITO_ISSUER", it.issuer.as_str()));
        let django = self.tokens.django.as_ref().and_then(|it| it.jwks_url.as_deref());
        let issuers = cognito.into_iter().chain(django.map(|url| ("DJANGO_JWKS_URL", url)));
        let plain = issuers.into_iter().find(|(_, url)| is_plain_beyond_this_machine(url));
        plain.map(|(variable, _)| {
            let problem = "keys come over http from another machine, where anyone on the way can \
                           replace them; set an https URL, or ALLOW_INSECURE=http-issuer";
            Verdict::Refused(Variables::error(variable, problem))
        })
    }

    fn short_secret(&self) -> Option<String> {
        let secret = self.tokens.django.as_ref()?.secret.as_ref()?;
        (secret.expose_secret().len() < HS256_KEY_MIN).then(|| {
            "DJANGO_JWT_SECRET: has fewer than 32 bytes, and can be guessed from one token; set 32 \
             random ones, in Django too"
                .to_owned()
        })
    }

    fn any_client(&self) -> Option<String> {
        self.tokens.cognito.as_ref()?.client_ids.is_empty().then(|| {
            "COGNITO_CLIENT_IDS: is not set, and tokens for any modules of the user pool count; set the \
             ids of your apps' clients"
                .to_owned()
        })
    }

    fn any_origin(&self) -> Option<String> {
        (self.cors_origins.is_any() && !self.any_origin_is_meant).then(|| {
            "CORS_ORIGINS: is not set, and pages of any origin may use the API; set the origins of \
             your pages, or * where any is meant"
                .to_owned()
        })
    }

    fn no_proxies(&self) -> Option<String> {
        self.limits.trusted_proxies.is_empty().then(|| {
            "TRUSTED_PROXIES: is not set, and behind a proxy everyone shares one address's limits; \
             set the proxies' addresses, or 127.0.0.1 where there is none"
                .to_owned()
        })
    }

    fn no_redis_password(&self) -> Option<String> {
        self.redis.as_ref()?.password.is_none().then(|| {
            "REDIS_PASSWORD: is not set, and anyone who reaches Redis can read and write on the bus; set a \
             password, and REDIS_USER for a user with few rights"
                .to_owned()
        })
    }

    fn s3_over_http(&self) -> Option<String> {
        let s3 = self.s3.as_ref()?;
        let endpoints =
            [("S3_ENDPOINT", &s3.endpoint), ("S3_PUBLIC_ENDPOINT", &s3.public_endpoint)];
        let plain = endpoints
            .into_iter()
            .find(|(_, endpoint)| endpoint.as_deref().is_some_and(is_plain_beyond_this_machine));
        plain.map(|(variable, _)| {
            format!(
                "{variable}: pictures cross the network in plain text; set an https URL, or \
                 ALLOW_INSECURE=http-s3"
            )
        })
    }
}

#[cfg(test)]
mod tests;
