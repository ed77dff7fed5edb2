//! The listener for the other nodes (`NODE_TLS_PORT`): the same service, over TLS.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    ACCEPT_PAUSE, From, HEAD_TIMEOUT, Serving, is_of_one_connection, listen, serve_stream,
};
use crate::{config::Config, modules::Modules};

/// Binds the listener; `None` if this node has no certificate.
pub(super) fn bind(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(identity) = &config.node_tls.identity else { return Ok(None) };
    let address = SocketAddr::from((config.host, identity.port));
    listen("NODE_TLS_PORT", address).map(Some)
}

/// Serves until it is dropped. Without a listener it waits.
pub(super) async fn accept(listener: Option<&TcpListener>, modules: &Modules, serving: Serving) {
    let (Some(listener), Some(acceptor)) = (listener, modules.gateway.node_tls.acceptor()) else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(accepted) = modules.gateway.limits.accept(peer.ip()) else { continue };
                let accepted = Arc::new(accepted);
                let from = From { peer, accepted, head_timeout: HEAD_TIMEOUT, place: None };
                let shaking = shake(acceptor.clone(), stream, from, serving.clone());
                serving.tasks.spawn_once("connection.tls", shaking);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "accept failed on the nodes' port");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a connection after its TLS handshake.
async fn shake(acceptor: TlsAcceptor, stream: TcpStream, from: From, mut serving: Serving) {
    drop(stream.set_nodelay(true));
    let shaken = tokio::select! {
        shaken = timeout(HEAD_TIMEOUT, acceptor.accept(stream)) => shaken,
        () = from.accepted.evicted() => return,
        _ = serving.finishing.changed() => return,
    };
    let Ok(Ok(stream)) = shaken else {
        tracing::debug!("TLS handshake failed on the nodes' port");
        return;
    };
    serve_stream(stream, from, serving);
}
