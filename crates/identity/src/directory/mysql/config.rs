//! Settings of the legacy database.

use std::path::PathBuf;

use secrecy::SecretString;

use platform::{
    tls::Tls,
    variables::{ConfigError, Variables},
};

/// Address, account and queries of the legacy database.
#[derive(Clone, Debug)]
pub struct MysqlConfig {
    /// Host name or address.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// User, who needs no right but to read.
    pub user: String,
    /// Their password.
    pub password: Option<SecretString>,
    /// Encryption of the connections.
    pub tls: Tls,
    /// PEM file with additional authorities.
    pub ca_file: Option<PathBuf>,
    /// The first column is the person's id. `email` and `avatar_url` have these names. All other
    /// columns are parts of the name.
    pub(crate) customers_query: String,
    pub(crate) dentists_query: String,
    /// Returns a row if a customer and a dentist may talk. `None` if everyone may.
    pub may_talk_query: Option<String>,
}

pub(crate) const DEFAULT_CUSTOMERS_QUERY: &str = "SELECT cognito_sub, first_name, last_name, \
    email, avatar_url FROM customers WHERE cognito_sub = ?";
pub(crate) const DEFAULT_DENTISTS_QUERY: &str = "SELECT user_id, first_name, last_name, \
    email, avatar_url FROM dentists WHERE user_id = ?";

impl MysqlConfig {
    /// `None` if no host is set.
    pub fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let Some(host) = variables.text("MYSQL_HOST") else { return Ok(None) };
        let query = |variable, default: &str| {
            let query = variables.text(variable).unwrap_or(default).to_owned();
            match query.matches('?').count() {
                1 => Ok(query),
                _ => Err(Variables::error(variable, "must hold one ? for the person's id")),
            }
        };
        let (tls, ca_file) = Tls::read(variables, "MYSQL", [host])?;
        Ok(Some(Self {
            host: host.to_owned(),
            port: variables.port("MYSQL_PORT", 3306)?,
            database: variables.required("MYSQL_DB", "MYSQL_HOST")?,
            user: variables.required("MYSQL_USER", "MYSQL_HOST")?,
            password: variables.secret("MYSQL_PASSWORD"),
            tls,
            ca_file,
            customers_query: query("MYSQL_CUSTOMERS_QUERY", DEFAULT_CUSTOMERS_QUERY)?,
            dentists_query: query("MYSQL_DENTISTS_QUERY", DEFAULT_DENTISTS_QUERY)?,
            may_talk_query: may_talk_query(variables)?,
        }))
    }
}

/// Query that returns a row if two people may talk.
fn may_talk_query(variables: &Variables) -> Result<Option<String>, ConfigError> {
    let variable = "MYSQL_MAY_TALK_QUERY";
    match variables.text(variable) {
        Some(query) if query.matches('?').count() != 2 => {
            let problem = "must hold two ?, for the customer's id and the dentist's";
            Err(Variables::error(variable, problem))
        }
        query => Ok(query.map(str::to_owned)),
    }
}
