//! Authorities that are trusted for servers' certificates.

mod config;

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

pub use config::{Tls, is_plain_beyond_this_machine};

use super::variables::ConfigError;

/// The system's authorities, and those of the PEM file named in a variable.
pub fn authorities(
    variable: &str,
    file: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    // A system may have unusable authorities: only they are left out.
    let usable =
        |authority: &CertificateDer<'static>| RootCertStore::empty().add(authority.clone()).is_ok();
    let mut authorities = rustls_native_certs::load_native_certs().certs;
    authorities.retain(usable);
    if let Some(path) = file {
        let certificates = CertificateDer::pem_file_iter(path)
            .map_err(|error| ConfigError::new(variable, &format!("{}: {error}", path.display())))?;
        let before = authorities.len();
        for certificate in certificates {
            let certificate = certificate.ok().filter(usable);
            let certificate =
                certificate.ok_or_else(|| ConfigError::new(variable, "not a certificate"))?;
            authorities.push(certificate);
        }
        if authorities.len() == before {
            return Err(ConfigError::new(variable, "holds no certificate in PEM"));
        }
    }
    Ok(authorities)
}

/// Warns of a server beyond this machine that offers no verified TLS.
pub fn warn_of_plain_text(prefix: &str, server: &str, refused: &anyhow::Error) {
    let reason = format!("{refused:#}");
    tracing::warn!(
        reason,
        "{prefix}_TLS: is not set, and {server} offers no TLS with a trusted certificate: the \
         connection is plain text. Set {prefix}_CA_FILE or {prefix}_TLS=true, or {prefix}_TLS=false to \
         accept plain text"
    );
}
