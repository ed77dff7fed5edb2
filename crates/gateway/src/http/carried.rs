//! Requests that another node has carried here. They are recognized by its signature, and this node signs the
//! answers.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use crate::{Gateway, peers::Carried};

/// Marks such a request with [`Carried`]. Its answer is signed as it leaves the node.
pub(crate) async fn layer(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    // Without Redis there are no other nodes.
    let is_alone = gateway.config.redis_hosts.is_none();
    let carried =
        if is_alone { None } else { Carried::read(&gateway.secret, &gateway.carried, &request) };
    let Some(carried) = carried else { return next.run(request).await };
    request.extensions_mut().insert(carried.clone());
    let mut response = next.run(request).await;
    carried.sign(&gateway.secret, &mut response);
    response
}
