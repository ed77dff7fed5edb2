//! `frontdesk migrate`

use clap::Args;

use crate::config::Config;
use chat::store::postgres::Postgres;
use db::counts::DatabaseCounts;

#[derive(Args, Debug)]
pub(super) struct Ask {
    /// Also end the upgrade: allow further tenants, and further members of a session, and give all keys their tenant
    ///
    /// Run it when no node of an earlier version runs any more, and none will: such nodes fail from then on. Indexes are
    /// built while nodes run; a long one takes minutes. A new database, and the embedded one, need no such step.
    #[arg(long)]
    finish: bool,
}

pub(super) async fn run(ask: &Ask, config: &Config) -> anyhow::Result<()> {
    match &config.postgres {
        Some(postgres) => {
            let store =
                Postgres::open(postgres, &config.search_language, DatabaseCounts::default())
                    .await?;
            if let Some(role) = &postgres.node_role {
                store.db.give_rights(role).await?;
            }
            if ask.finish && store.db.finish_upgrade().await? {
                tracing::info!("the upgrade has ended");
            }
        }
        #[cfg(feature = "embedded")]
        None => drop(crate::embedded::database(&config.data_dir)?),
        #[cfg(not(feature = "embedded"))]
        None => return Err(crate::modules::no_database().into()),
    }
    tracing::info!("database schema is up to date");
    Ok(())
}
