//! Use of TLS for servers outside this machine.

use std::{net::IpAddr, path::PathBuf};

use crate::variables::{ConfigError, Variables};

/// Encryption of a connection. A certificate is always verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plain text: it is configured, or the server is on this machine.
    Off,
    /// TLS first, then plain text with a warning if the server offers no verified TLS. The default for
    /// a server outside this machine.
    Preferred,
    /// TLS or no connection.
    Required,
}

impl Tls {
    /// Reads `{prefix}_TLS` and `{prefix}_CA_FILE`, for a server at one of these hosts.
    pub fn read<'a>(
        variables: &Variables,
        prefix: &str,
        hosts: impl IntoIterator<Item = &'a str>,
    ) -> Result<(Self, Option<PathBuf>), ConfigError> {
        let (tls, ca_file) = (format!("{prefix}_TLS"), format!("{prefix}_CA_FILE"));
        let authorities: Option<PathBuf> = variables.text(&ca_file).map(Into::into);
        let is_beyond = hosts.into_iter().any(is_beyond_this_machine);
        let read = match (variables.switch(&tls)?, authorities.is_some()) {
            (Some(false), true) => {
                let problem = format!("is false, but {ca_file} is set: remove one of them");
                return Err(Variables::error(&tls, &problem));
            }
            (Some(true), _) | (None, true) => Self::Required,
            (None, false) if is_beyond => Self::Preferred,
            (Some(false) | None, false) => Self::Off,
        };
        Ok((read, authorities))
    }
}

/// Whether a connection to this host may leave the machine. A socket path or a loopback address does
/// not. A name may, unless it is `localhost`.
fn is_beyond_this_machine(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        let ip = ip.to_canonical();
        return !ip.is_loopback() && !ip.is_unspecified();
    }
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    !(name.starts_with('/') || name == "localhost" || name.ends_with(".localhost"))
}

/// Whether a request to this URL crosses a network in plain text.
pub fn is_plain_beyond_this_machine(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| {
        url.scheme() == "http" && url.host_str().is_some_and(is_beyond_this_machine)
    })
}
