//! Address of each request, and its limit of requests.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{Gateway, limits::Accepted, peers::Carried};
use model::account::Address;
use protocol::error::Error;

/// Paths of probes. They are not limited, because a probe must learn that the node is there.
const PROBES: [&str; 2] = ["/health/live", "/health/ready"];

/// Stores the client's [`Address`] in the request, and counts the request. A carried request was counted on
/// the node that received it.
pub(crate) async fn layer(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let carried = request.extensions().get::<Carried>();
    let address = if let Some(address) = carried.and_then(|carried| carried.client) {
        // Nodes are not limited: they carry requests of many clients.
        if let Some(accepted) = request.extensions().get::<Arc<Accepted>>() {
            accepted.give_back();
        }
        address
    } else {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let Some(ConnectInfo(peer)) = peer.copied() else {
            return Error::Internal.into_response();
        };
        let address = gateway.limits.address(peer.ip(), request.headers());
        let is_probe = PROBES.contains(&request.uri().path());
        if !is_probe && let Err(error) = gateway.limits.request(address) {
            return error.into_response();
        }
        address
    };
    request.extensions_mut().insert::<Address>(address);
    next.run(request).await
}
