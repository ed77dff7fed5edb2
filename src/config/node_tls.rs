//! TLS from node to node.

use std::path::PathBuf;

use super::{ConfigError, Variables};

/// Where the others reach a node that has a certificate.
const PORT: u16 = 3443;

/// The files of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeTlsConfig {
    /// The certificate that this node shows.
    pub(crate) identity: Option<NodeIdentity>,
    /// The authorities whose certificates the others show: no request is carried to them without.
    pub(crate) ca_file: Option<PathBuf>,
    /// The name in their certificates, where it is not their address.
    pub(crate) name: Option<String>,
}

/// A certificate and its key, and the port where it is shown.
#[derive(Clone, Debug)]
pub(crate) struct NodeIdentity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) port: u16,
}

impl NodeTlsConfig {
    pub(super) fn read(variables: &Variables) -> Result<Self, ConfigError> {
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
