//! The listener for operators (`ADMIN_PORT`). It takes none of the clients' slots, so it answers even if all
//! of those are taken.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

use super::{
    ACCEPT_PAUSE, From, HEAD_TIMEOUT, Serving, is_of_one_connection, listen, serve_connection,
};
use crate::config::Config;
use gateway::limits::Accepted;

/// Maximum number of connections.
const CONNECTIONS_MAX: usize = 64;

/// Binds the listener; `None` if no port is set.
pub(super) fn bind(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(port) = config.admin_port else { return Ok(None) };
    let address = SocketAddr::from((config.host, port));
    let listener = listen("ADMIN_PORT", address)?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening for operators");
    Ok(Some(listener))
}

/// Serves until it is dropped. Without a listener it waits.
pub(super) async fn accept(listener: Option<&TcpListener>, serving: Serving) {
    let Some(listener) = listener else { return std::future::pending().await };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let accepted = Arc::new(Accepted::unlimited());
                let from = From { peer, accepted, head_timeout: HEAD_TIMEOUT, place: Some(place) };
                serve_connection(stream, from, serving.clone());
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "accept failed on the operators' port");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
