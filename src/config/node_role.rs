//! The role of the nodes, where another one owns the database.

use secrecy::SecretString;

use super::{ConfigError, variables::Variables};

/// The role to which `frontdesk migrate` gives the nodes' rights.
#[derive(Clone, Debug)]
pub(crate) struct NodeRole {
    pub(crate) name: String,
    /// With it the role is made where it is missing, and has this password from then on.
    pub(crate) password: Option<SecretString>,
}

impl NodeRole {
    /// `None` where the nodes own the database.
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
