//! TLS between nodes.

use std::path::PathBuf;

use platform::variables::{ConfigError, Variables};

/// Default port of a node's TLS listener.
const PORT: u16 = 3443;

/// Settings of TLS between nodes.
#[derive(Clone, Debug, Default)]
pub struct NodeTlsConfig {
    /// Certificate of this node.
    pub identity: Option<NodeIdentity>,
    /// Authorities of the other nodes' certificates. If they are set, requests are carried over TLS only.
    pub ca_file: Option<PathBuf>,
    /// Name in the other nodes' certificates, if it is not their address.
    pub name: Option<String>,
}

/// Certificate, key, and port of the TLS listener.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// File of the certificate, with its chain.
    pub certificate: PathBuf,
    /// File of the private key.
    pub key: PathBuf,
    /// Port for the other nodes.
    pub port: u16,
}

impl NodeTlsConfig {
    /// Reads the settings.
    pub fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let (certificate, key) = ("NODE_TLS_CERT_FILE", "NODE_TLS_KEY_FILE");
        let identity = match (variables.text(certificate), variables.text(key)) {
            (None, None) => None,
            _ => Some(NodeIdentity {
                certificate: variables.required(certificate, key)?.into(),
                key: variables.required(key, certificate)?.into(),
                port: variables.port("NODE_TLS_PORT", PORT)?,
            }),
        };
        let ca_file: Option<PathBuf> = variables.text("NODE_TLS_CA_FILE").map(Into::into);
        let name = ca_file.as_ref().and_then(|_| variables.text("NODE_TLS_NAME"));
        Ok(Self { identity, ca_file, name: name.map(str::to_owned) })
    }
}
