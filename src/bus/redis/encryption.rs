//! TLS where the server offers it, for a Redis beyond this machine that nothing is set for.

use anyhow::anyhow;
use tokio::time::timeout;

use super::{DEADLINE, connect};
use crate::{
    config::{RedisConfig, Tls},
    tls,
};

/// The configuration with what Redis answers to. It holds for as long as the node lives. A Redis that is
/// away is no reason to wait: it is spoken to in plain text when it is back.
pub(super) async fn agree(config: &RedisConfig) -> RedisConfig {
    let agreed = try_to_agree(config).await;
    agreed.unwrap_or_else(|refused| {
        tls::warn_of_plain_text("REDIS", "Redis", &refused);
        RedisConfig { tls: Tls::Off, ..config.clone() }
    })
}

/// Reports the parts that are there; nothing is changed.
pub(super) async fn look(config: &RedisConfig) -> anyhow::Result<String> {
    connect::look(&try_to_agree(config).await?).await
}

/// Without an answer by either, the reason is the one over TLS.
async fn try_to_agree(config: &RedisConfig) -> anyhow::Result<RedisConfig> {
    if config.tls != Tls::Preferred {
        return Ok(config.clone());
    }
    let [encrypted, plain] =
        [Tls::Required, Tls::Off].map(|tls| RedisConfig { tls, ..config.clone() });
    let Err(refused) = answers(&encrypted).await else { return Ok(encrypted) };
    // Its password goes out in plain text only where TLS was refused.
    if answers(&plain).await.is_err() {
        return Err(refused);
    }
    // A server that was starting meanwhile refuses the first and takes the second.
    let Err(refused) = answers(&encrypted).await else { return Ok(encrypted) };
    tls::warn_of_plain_text("REDIS", "Redis", &refused);
    Ok(plain)
}

async fn answers(config: &RedisConfig) -> anyhow::Result<()> {
    let answered = timeout(DEADLINE * 2, connect::look(config)).await;
    answered.unwrap_or_else(|_| Err(anyhow!("no answer in time"))).map(drop)
}
