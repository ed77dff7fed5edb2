//! Rights of the nodes' role, if another role owns the database.

use anyhow::Context;
use postgres_protocol::password::scram_sha_256;
use secrecy::ExposeSecret;
use tokio_postgres::Transaction;

use super::config::NodeRole;
use super::{Postgres, migrations};

/// Script that operators may also run themselves. It names the role as psql's variable `node`.
const GRANTS: &str = include_str!("../../../../deploy/postgres/grants.sql");

const STATEMENT: &str = "select format(case when exists (select 1 from pg_roles where rolname = $1) \
    then 'alter role %I login password %L' else 'create role %I login password %L' end, $1::text, $2::text)";

impl Postgres {
    /// Grants the role its rights. With a password set, the role is created if missing, and gets
    /// this password.
    pub async fn give_rights(&self, role: &NodeRole) -> anyhow::Result<()> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute("set local lock_timeout = 0").await?;
        // Two at once would change the same rows of the catalogue, and one would fail.
        migrations::lock(&*transaction, "select pg_try_advisory_xact_lock($1)").await?;
        if let Some(password) = &role.password {
            set_password(&transaction, &role.name, password.expose_secret()).await?;
        }
        let quoted = format!("\"{}\"", role.name.replace('"', "\"\""));
        let granted = transaction.batch_execute(&GRANTS.replace(":\"node\"", &quoted)).await;
        granted
            .with_context(|| format!("POSTGRES_NODE_USER: can't grant rights to {}", role.name))?;
        transaction.commit().await?;
        tracing::info!(role = role.name, "rights granted to the nodes' role");
        Ok(())
    }
}

/// Sends only the verifier to the server: its log may contain statements.
async fn set_password(
    transaction: &Transaction<'_>,
    name: &str,
    password: &str,
) -> anyhow::Result<()> {
    let verifier = scram_sha_256(password.as_bytes());
    let row = transaction.query_one(STATEMENT, &[&name, &verifier]).await?;
    let statement: String = row.try_get(0)?;
    let set = transaction.batch_execute(&statement).await;
    set.context(
        "POSTGRES_NODE_PASSWORD: POSTGRES_USER may not create a role, or may not change this one",
    )
}
