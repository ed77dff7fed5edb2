//! The secret with which nodes authenticate each other.

use secrecy::{ExposeSecret, SecretString};

use platform::variables::{ConfigError, Variables};

/// Minimum length of a secret in bytes.
const SECRET_MIN: usize = 32;

/// The nodes' secret and its source.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Key for signing.
    pub secret: SecretString,
    /// Second secret whose signatures are accepted, while the secret rotates.
    pub also_valid: Option<SecretString>,
    /// Origin of the secret.
    pub source: SecretSource,
    /// Whether unsigned items of older nodes are accepted.
    pub accept_unsigned: bool,
}

/// Source of the nodes' secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// `CLUSTER_SECRET`.
    Set,
    /// Derived from the values of these variables, which all nodes share.
    Derived(Vec<&'static str>),
    /// No secret value is available.
    Nothing,
}

impl ClusterConfig {
    /// `shared` are values that all nodes have, from which a missing secret is derived.
    pub fn read(
        variables: &Variables,
        shared: [(&'static str, Option<&SecretString>); 2],
    ) -> Result<Self, ConfigError> {
        let accept_unsigned = variables.flag("CLUSTER_ACCEPT_UNSIGNED")?;
        let set = variables.list("CLUSTER_SECRET");
        if set.len() > 2 || set.iter().any(|secret| secret.len() < SECRET_MIN) {
            let problem = format!(
                "must be one secret of at least {SECRET_MIN} characters, or two with a comma between \
                 them while it rotates"
            );
            return Err(Variables::error("CLUSTER_SECRET", &problem));
        }
        let mut set = set.into_iter().map(SecretString::from);
        if let Some(secret) = set.next() {
            let (also_valid, source) = (set.next(), SecretSource::Set);
            return Ok(Self { secret, also_valid, source, accept_unsigned });
        }
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, value) in shared {
            let Some(value) = value.map(ExposeSecret::expose_secret) else { continue };
            names.push(name);
            // With its length, so that no other pair of values gives the same text.
            values.push(format!("{name}:{}:{value};", value.len()));
        }
        let source =
            if names.is_empty() { SecretSource::Nothing } else { SecretSource::Derived(names) };
        Ok(Self { secret: values.concat().into(), also_valid: None, source, accept_unsigned })
    }

    /// Warnings of settings that are probably not intended with several nodes.
    pub fn warnings(&self, production: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        match &self.source {
            SecretSource::Derived(names) if production => warnings.push(format!(
                "CLUSTER_SECRET: is not set: the nodes' secret is made of {}; set it to {SECRET_MIN} \
                 random characters or more, the same on all nodes",
                names.join(" and ")
            )),
            SecretSource::Nothing => warnings.push(
                "CLUSTER_SECRET: is not set, and there is no secret to make it of: anybody who reaches \
                 Redis can pass for a node"
                    .to_owned(),
            ),
            _ => {}
        }
        if self.accept_unsigned {
            warnings.push(
                "CLUSTER_ACCEPT_UNSIGNED: is set, so anybody who reaches Redis can pass for a node of the \
                 version before signatures: unset it once none of these is left"
                    .to_owned(),
            );
        }
        warnings
    }

    #[cfg(test)]
    pub(crate) fn of(secret: &str, also_valid: Option<&str>) -> Self {
        let also_valid = also_valid.map(Into::into);
        let (source, accept_unsigned) = (SecretSource::Set, false);
        Self { secret: secret.into(), also_valid, source, accept_unsigned }
    }
}
