//! `frontdesk migrate`

use crate::{config::Config, store::postgres::Postgres};

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    match &config.postgres {
        Some(postgres) => {
            let store = Postgres::open(postgres, &config.search_language).await?;
            if let Some(role) = &postgres.node_role {
                store.give_rights(role).await?;
            }
        }
        #[cfg(feature = "embedded")]
        None => drop(crate::embedded::database(&config.data_dir)?),
        #[cfg(not(feature = "embedded"))]
        None => return Err(crate::app::no_database().into()),
    }
    tracing::info!("database schema is up to date");
    Ok(())
}
