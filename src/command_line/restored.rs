//! `frontdesk restored`

use crate::config::Config;
use chat::store::{epoch::Epochs, postgres::Postgres};
use db::counts::DatabaseCounts;

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let epoch = match &config.postgres {
        Some(postgres) => {
            let counts = DatabaseCounts::default();
            renew(&Postgres::open(postgres, &config.search_language, counts).await?).await?
        }
        #[cfg(feature = "embedded")]
        None => renew(&crate::embedded::database(&config.data_dir)?).await?,
        #[cfg(not(feature = "embedded"))]
        None => return Err(crate::modules::no_database().into()),
    };
    super::say(&format!("Message order has epoch {epoch} now: clients reload their sessions."))?;
    Ok(())
}

async fn renew(store: &impl Epochs) -> anyhow::Result<u64> {
    let stored = store.epoch().await?;
    Ok(store.renew_epoch(stored.id, stored.number).await?.number)
}
