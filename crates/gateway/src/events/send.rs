//! `message:send`: from a client's content to a committed message. The acknowledgement is the sender's copy.
//! The room's copy is left out.

use futures_util::{FutureExt, future::BoxFuture};

use super::{Reply, to_raw};
use crate::caller::Caller;
use model::{
    ids::SessionId,
    message::{ClientId, Visibility},
};
use protocol::{Content, Send, answers::Sent, error::Error};

/// Queues a public message at once, so that a connection's sends keep their order. A private one is queued when its
/// notes are found.
pub(super) fn run(caller: &Caller, send: Send) -> BoxFuture<'static, Result<Reply, Error>> {
    let Send { session_id, content, visibility } = send;
    match visibility {
        Visibility::Public => {
            caller.stop_typing(session_id);
            let client_id = before(caller, session_id, &content);
            let sending = caller.gateway.send(caller.scope(), session_id, content);
            after(caller.clone(), session_id, client_id, sending).boxed()
        }
        Visibility::Private => {
            let caller = caller.clone();
            async move {
                let (gateway, me) = (&caller.gateway, caller.scope());
                let notes = gateway.notes_to_write(me, session_id).await?;
                // Its end in the session would show the customer that something was written.
                caller.stop_typing(notes);
                let client_id = before(&caller, notes, &content);
                let sending = gateway.chat.send(me, notes, content);
                after(caller.clone(), notes, client_id, sending.boxed()).await
            }
            .boxed()
        }
    }
}

/// Even before a join: the sender may join before the message is delivered.
fn before(caller: &Caller, session_id: SessionId, content: &Content) -> ClientId {
    caller.outbound.remember_own(session_id, &content.client_id);
    content.client_id.clone()
}

async fn after(
    caller: Caller,
    session_id: SessionId,
    client_id: ClientId,
    sending: impl Future<Output = Result<Sent, Error>>,
) -> Result<Reply, Error> {
    let outcome = sending.await;
    if outcome.as_ref().map_or(true, |sent| sent.duplicate) {
        caller.outbound.forget_own(session_id, &client_id);
    }
    outcome.map(|sent| Reply::Sent { data: to_raw(&sent), session_id, seq: sent.message.seq })
}
