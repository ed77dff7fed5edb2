//! `frontdesk secrets`

use anyhow::ensure;
use clap::Subcommand;

use super::say;
use crate::{config::Config, modules};
use identity::tenants::{Rotated, rotate, table::TenantTable};
use platform::variables::ConfigError;

#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// Seal all secrets with the first key of `SECRETS_KEY`
    ///
    /// See docs/operations.md for the steps of a rotation. Nodes go on meanwhile. With the embedded database the node
    /// must be stopped first.
    Rotate,
}

pub(super) async fn run(ask: &Ask, config: &Config) -> anyhow::Result<()> {
    let Ask::Rotate = ask;
    ensure!(config.sealing.keys() > 0, ConfigError::new("SECRETS_KEY", "is not set"));
    let table = TenantTable(modules::open_database(config).await?);
    let Rotated { all, renewed, current, failed } = rotate(&table, &config.sealing).await?;
    say(&format!("{renewed} of {all} secrets sealed anew with the first key, {current} had it"))?;
    for line in &failed {
        say(line)?;
    }
    ensure!(failed.is_empty(), "{} secrets can't be opened; keep the old keys", failed.len());
    Ok(())
}
