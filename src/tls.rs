//! Whose word about a server's certificate counts.

use std::path::Path;

use anyhow::Context;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The system's authorities, and those of the PEM file that a variable names.
pub(crate) fn authorities(
    variable: &str,
    file: Option<&Path>,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    // A system may have some that can't be used: that is no reason to do without the others.
    let usable =
        |authority: &CertificateDer<'static>| RootCertStore::empty().add(authority.clone()).is_ok();
    let mut authorities = rustls_native_certs::load_native_certs().certs;
    authorities.retain(usable);
    if let Some(path) = file {
        let certificates = CertificateDer::pem_file_iter(path)
            .with_context(|| format!("{variable}: {}", path.display()))?;
        for certificate in certificates {
            let certificate =
                certificate.ok().filter(usable).with_context(|| not_a_certificate(variable))?;
            authorities.push(certificate);
        }
    }
    Ok(authorities)
}

fn not_a_certificate(variable: &str) -> String {
    format!("{variable}: not a certificate")
}
