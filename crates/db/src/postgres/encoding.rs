//! Refuses a database that can't hold every text.

use deadpool_postgres::Object;

use platform::variables::ConfigError;

/// Other encodings can't store some texts (LATIN1), or store them unchecked (`SQL_ASCII`).
const UTF8: &str = "UTF8";

/// Refuses a database whose encoding is not UTF-8.
pub(crate) async fn check(client: &Object) -> anyhow::Result<()> {
    let row = client.query_one("select current_setting('server_encoding')", &[]).await?;
    let encoding: String = row.try_get(0)?;
    if encoding == UTF8 {
        return Ok(());
    }
    let problem = format!(
        "the database's encoding is {encoding}, which can't hold every text; it must be made anew: \
         create database … encoding 'UTF8' template template0"
    );
    Err(ConfigError::new("POSTGRES_DB", &problem).into())
}
