//! TLS if the server supports it, for a database on another machine without a TLS setting.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio::time::{Instant, sleep};

use super::connect::{self, STARTUP_TIMEOUT};
use crate::postgres::config::PostgresConfig;
use platform::tls::{self, Tls};

/// Returns the configuration with the detected TLS mode; waits for a server that is still starting.
/// The mode holds for the lifetime of the node: after TLS has worked once, the node never connects
/// without it.
pub(crate) async fn agree(config: &PostgresConfig) -> anyhow::Result<PostgresConfig> {
    let give_up = Instant::now() + STARTUP_TIMEOUT;
    let mut pause = Duration::from_millis(100);
    loop {
        match try_to_agree(config).await {
            Ok(agreed) => return Ok(agreed),
            Err(error) if Instant::now() + pause > give_up => {
                return Err(error).context("PostgreSQL can't be reached");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "PostgreSQL unreachable; retrying");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(3));
    }
}

/// A single attempt of [`agree`].
pub(crate) async fn try_to_agree(config: &PostgresConfig) -> anyhow::Result<PostgresConfig> {
    if config.tls != Tls::Preferred {
        return Ok(config.clone());
    }
    let [encrypted, plain] =
        [Tls::Required, Tls::Off].map(|tls| PostgresConfig { tls, ..config.clone() });
    let Err(refused) = answers(&encrypted).await else { return Ok(encrypted) };
    if answers(&plain).await.is_err() {
        return Err(refused);
    }
    // A server that was still starting may refuse the first connection and accept the second.
    let Err(refused) = answers(&encrypted).await else { return Ok(encrypted) };
    tls::warn_of_plain_text("POSTGRES", "PostgreSQL", &refused);
    Ok(plain)
}

async fn answers(config: &PostgresConfig) -> anyhow::Result<()> {
    drop(connect::pool(config, &Arc::default(), 1, "")?.get().await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use frontdesk_test_support::Servers;

    use super::*;

    async fn config(server_port: u16) -> PostgresConfig {
        let servers = Servers::get().await;
        PostgresConfig {
            host: "127.0.0.1".into(),
            port: server_port,
            database: "postgres".into(),
            user: "postgres".into(),
            password: None,
            pool_size: 3,
            tls: Tls::Preferred,
            ca_file: Some(servers.certificate.clone()),
            node_role: None,
        }
    }

    #[tokio::test]
    async fn tls_is_preferred_and_plain_text_is_what_is_left_where_no_certificate_is_verified() {
        let servers = Servers::get().await;
        let config = config(servers.postgres_port).await;
        assert_eq!(try_to_agree(&config).await.unwrap().tls, Tls::Required);
        // The same server, with a certificate that no trusted authority has signed.
        let stranger = PostgresConfig { ca_file: None, ..config.clone() };
        assert_eq!(try_to_agree(&stranger).await.unwrap().tls, Tls::Off);
        // No server listens: nothing is agreed.
        let away = PostgresConfig { port: frontdesk_test_support::free_port(), ..config.clone() };
        assert!(try_to_agree(&away).await.is_err());
        for tls in [Tls::Off, Tls::Required] {
            let set = PostgresConfig { tls, ..away.clone() };
            assert_eq!(try_to_agree(&set).await.unwrap().tls, tls, "nobody is asked");
        }
    }

    #[tokio::test]
    async fn a_server_without_tls_is_spoken_to_in_plain_text_where_nothing_is_set() {
        let server = frontdesk_test_support::Postgres::start(10).await;
        let config = config(server.port).await;
        assert_eq!(try_to_agree(&config).await.unwrap().tls, Tls::Off);
        let insisting = PostgresConfig { tls: Tls::Required, ..config };
        assert!(answers(&insisting).await.is_err());
    }
}
