//! Settings of PostgreSQL.

use std::path::PathBuf;

use secrecy::SecretString;

use platform::{
    tls::Tls,
    variables::{ConfigError, Variables},
};

/// Minimum pool size: one connection commits, one checks, one reads.
const POOL_SIZE_MIN: usize = 3;
/// Maximum pool size. PostgreSQL's own default limit is 100.
const POOL_SIZE_MAX: usize = 500;

/// Address, account and pool of the database.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// Host name, address, or directory of the socket.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// Role of this node.
    pub user: String,
    /// Its password.
    pub password: Option<SecretString>,
    /// Maximum of connections of this node.
    pub pool_size: usize,
    /// Encryption of the connections.
    pub tls: Tls,
    /// PEM file with additional authorities.
    pub ca_file: Option<PathBuf>,
    /// Role that `frontdesk migrate` grants the nodes' rights to.
    pub node_role: Option<NodeRole>,
}

impl PostgresConfig {
    /// `None` if no host is set.
    pub fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let Some(host) = variables.text("POSTGRES_HOST") else { return Ok(None) };
        let (tls, ca_file) = Tls::read(variables, "POSTGRES", [host])?;
        let sizes = POOL_SIZE_MIN..=POOL_SIZE_MAX;
        let pool_size = variables.number("POSTGRES_POOL_SIZE", 20, sizes, "connections")?;
        Ok(Some(Self {
            host: host.to_owned(),
            port: variables.port("POSTGRES_PORT", 5432)?,
            database: variables.required("POSTGRES_DB", "POSTGRES_HOST")?,
            user: variables.required("POSTGRES_USER", "POSTGRES_HOST")?,
            password: variables.secret("POSTGRES_PASSWORD"),
            pool_size,
            tls,
            ca_file,
            node_role: NodeRole::read(variables)?,
        }))
    }
}

/// Language of the messages, for search.
pub fn search_language(variables: &Variables) -> Result<String, ConfigError> {
    let language = variables.text("SEARCH_LANGUAGE").unwrap_or("simple").to_lowercase();
    if language.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Ok(language);
    }
    Err(Variables::error("SEARCH_LANGUAGE", "must be a name like german"))
}

/// Role that receives the nodes' rights from `frontdesk migrate`.
#[derive(Clone, Debug)]
pub struct NodeRole {
    /// Name of the role.
    pub name: String,
    /// With a password, a missing role is created, and the password is set.
    pub password: Option<SecretString>,
}

impl NodeRole {
    /// `None` if the nodes own the database.
    pub fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let variable = "POSTGRES_NODE_USER";
        let Some(name) = variables.text(variable) else { return Ok(None) };
        if variables.text("POSTGRES_USER") == Some(name) {
            let problem = "must differ from POSTGRES_USER, which owns the database: the nodes' role has fewer rights";
            return Err(Variables::error(variable, problem));
        }
        let password = variables.secret("POSTGRES_NODE_PASSWORD");
        Ok(Some(Self { name: name.to_owned(), password }))
    }
}
