//! Choice of TLS or plain text for a remote Redis without a TLS setting.

use anyhow::anyhow;
use tokio::time::timeout;

use super::{ROUND_TRIP_TIMEOUT, connect};
use crate::redis::config::RedisConfig;
use platform::tls::{self, Tls};

/// Configuration with the transport on which Redis answers. It is fixed for the node's lifetime. An
/// unavailable Redis does not delay the start: plain text is used when it returns.
pub(super) async fn agree(config: &RedisConfig) -> RedisConfig {
    let agreed = try_to_agree(config).await;
    agreed.unwrap_or_else(|refused| {
        tls::warn_of_plain_text("REDIS", "Redis", &refused);
        RedisConfig { tls: Tls::Off, ..config.clone() }
    })
}

/// Reports version and transport. Changes nothing.
pub(super) async fn probe(config: &RedisConfig) -> anyhow::Result<String> {
    connect::probe(&try_to_agree(config).await?).await
}

/// If neither transport answers, the error is that of TLS.
async fn try_to_agree(config: &RedisConfig) -> anyhow::Result<RedisConfig> {
    if config.tls != Tls::Preferred {
        return Ok(config.clone());
    }
    let [encrypted, plain] =
        [Tls::Required, Tls::Off].map(|tls| RedisConfig { tls, ..config.clone() });
    let Err(refused) = answers(&encrypted).await else { return Ok(encrypted) };
    // The password is sent in plain text only after TLS was refused.
    if answers(&plain).await.is_err() {
        return Err(refused);
    }
    // A server that was starting may have refused TLS and then accepted plain text.
    let Err(refused) = answers(&encrypted).await else { return Ok(encrypted) };
    tls::warn_of_plain_text("REDIS", "Redis", &refused);
    Ok(plain)
}

async fn answers(config: &RedisConfig) -> anyhow::Result<()> {
    let answered = timeout(ROUND_TRIP_TIMEOUT * 2, connect::probe(config)).await;
    answered.unwrap_or_else(|_| Err(anyhow!("no answer in time"))).map(drop)
}
