//! The nodes' database role, if another role owns the database.

use secrecy::SecretString;

use super::{ConfigError, variables::Variables};

/// Role that receives the nodes' rights from `frontdesk migrate`.
#[derive(Clone, Debug)]
pub(crate) struct NodeRole {
    pub(crate) name: String,
    /// With a password, a missing role is created, and the password is set.
    pub(crate) password: Option<SecretString>,
}

impl NodeRole {
    /// `None` if the nodes own the database.
    pub(super) fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let variable = "POSTGRES_NODE_USER";
        let Some(name) = variables.text(variable) else { return Ok(None) };
        if variables.text("POSTGRES_USER") == Some(name) {
            let problem =
                "is POSTGRES_USER, who owns the database: the nodes' role has fewer rights";
            return Err(Variables::error(variable, problem));
        }
        let password = variables.secret("POSTGRES_NODE_PASSWORD");
        Ok(Some(Self { name: name.to_owned(), password }))
    }
}
