//! TLS between nodes.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::connections;
use crate::peers::config::{NodeIdentity, NodeTlsConfig};
use bus::NodeAddress;
use platform::variables::ConfigError;

/// This node's TLS settings.
pub struct NodeTls {
    acceptor: Option<TlsAcceptor>,
    connector: Option<(TlsConnector, Option<ServerName<'static>>)>,
}

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl NodeTls {
    /// Reads the certificates.
    pub fn open(config: &NodeTlsConfig) -> Result<Self, ConfigError> {
        let acceptor = config.identity.as_ref().map(acceptor).transpose()?;
        let connector = config.ca_file.as_deref().map(connector).transpose()?;
        let name = config.name.clone().map(ServerName::try_from).transpose();
        let name = name.map_err(|_| ConfigError::new("NODE_TLS_NAME", "is not a host's name"))?;
        Ok(Self { acceptor, connector: connector.map(|connector| (connector, name)) })
    }

    /// Acceptor with this node's certificate, if it has one.
    pub fn acceptor(&self) -> Option<&TlsAcceptor> {
        self.acceptor.as_ref()
    }

    /// Connects to a node. If this node has authorities to check certificates, it connects by TLS or not at
    /// all.
    pub(super) async fn connect(&self, to: NodeAddress) -> io::Result<Box<dyn Stream>> {
        let Some((connector, name)) = &self.connector else {
            return Ok(Box::new(connections::connect(to.address).await?));
        };
        let Some(address) = to.tls else {
            return Err(io::Error::other("it has no certificate (NODE_TLS_CERT_FILE)"));
        };
        let stream = connections::connect(address).await?;
        let name = name.clone().unwrap_or_else(|| address.ip().into());
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

fn acceptor(identity: &NodeIdentity) -> Result<TlsAcceptor, ConfigError> {
    let certificates = certificates("NODE_TLS_CERT_FILE", &identity.certificate)?;
    let failed = |error: &dyn std::fmt::Display| {
        ConfigError::new("NODE_TLS_KEY_FILE", &format!("{}: {error}", identity.key.display()))
    };
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|error| failed(&error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| failed(&error))?)))
}

/// Trusts only the given authorities between nodes.
fn connector(ca_file: &Path) -> Result<TlsConnector, ConfigError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("NODE_TLS_CA_FILE", ca_file)? {
        let added = roots.add(authority);
        added.map_err(|_| ConfigError::new("NODE_TLS_CA_FILE", "not a certificate"))?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(variable: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let failed = |error: &dyn std::fmt::Display| {
        ConfigError::new(variable, &format!("{}: {error}", file.display()))
    };
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))?;
    let certificates: Result<Vec<_>, _> = certificates.collect();
    let certificates = certificates.map_err(|error| failed(&error))?;
    if certificates.is_empty() {
        return Err(failed(&"holds no certificate in PEM"));
    }
    Ok(certificates)
}
