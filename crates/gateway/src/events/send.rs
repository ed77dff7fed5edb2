//! `message:send`: from a client's content to a committed message. The acknowledgement is the sender's copy.
//! The room's copy is left out.

use futures_util::{FutureExt, future::BoxFuture};

use super::{Reply, to_raw};
use crate::caller::Caller;
use protocol::{Send, error::Error};

/// Queues the send at once, so that a connection's sends keep their order.
pub(super) fn run(caller: &Caller, send: Send) -> BoxFuture<'static, Result<Reply, Error>> {
    let Send { session_id, content } = send;
    let outbound = caller.outbound.clone();
    caller.stop_typing(session_id);
    let client_id = content.client_id.clone();
    // Even before a join: the sender may join before the message is delivered.
    outbound.remember_own(session_id, &client_id);
    let sending = caller.gateway.send(caller.person(), session_id, content);
    async move {
        let outcome = sending.await;
        if outcome.as_ref().map_or(true, |sent| sent.duplicate) {
            outbound.forget_own(session_id, &client_id);
        }
        outcome.map(|sent| Reply::Sent { data: to_raw(&sent), session_id, seq: sent.message.seq })
    }
    .boxed()
}
