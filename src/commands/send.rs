//! `message:send`: from what a client wrote to a committed message.

use futures_util::{FutureExt, future::BoxFuture};
use serde::Serialize;

use super::{Done, to_raw};
use crate::{
    app::App,
    connection::Caller,
    error::Error,
    message::{Draft, Message},
    person::Person,
    session::SessionId,
    store::{Appended, Refusal},
    wire::{self, Content, What, new_id},
};

/// The acknowledgement: the message as it is committed.
#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    pub(crate) message: Message,
    /// The `clientId` was used before: this is what it gave then.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) duplicate: bool,
    /// … and it was another text then.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) differs: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Queues the send at once, so that a connection's sends keep their order; resolves when the
/// database has decided. The same for HTTP and every framing.
pub(crate) fn run(
    app: &App,
    sender: Person,
    session_id: SessionId,
    content: Content,
) -> impl Future<Output = Result<Sent, Error>> + Send + use<> {
    let Content { client_id, what, reply_to } = content;
    let pending = match what {
        What::Text(body) => {
            let (body, image, id) = (Some(body), None, new_id());
            let draft = Draft { id, session_id, sender, client_id, body, image, reply_to };
            let body = draft.body.clone();
            app.writer.submit(draft).map(|pending| (pending, body))
        }
        What::Image { .. } => Err(Error::invalid("kind", "pictures are not taken here")),
    };
    async move {
        let (pending, body) = pending?;
        match pending.decided().await? {
            Appended::Committed(message) => Ok(Sent { message, duplicate: false, differs: false }),
            Appended::Repeated(message) => {
                let differs = message.body != body;
                Ok(Sent { message, duplicate: true, differs })
            }
            Appended::Refused(Refusal::SessionNotFound) => Err(Error::SessionNotFound),
            Appended::Refused(Refusal::SessionClosed) => Err(Error::SessionClosed),
            Appended::Refused(Refusal::ReplyNotFound) => {
                Err(Error::invalid("replyTo", "there is no such message in this session"))
            }
            Appended::Refused(Refusal::Value) => Err(Error::invalid("body", "can't be stored")),
        }
    }
}

/// On a socket the acknowledgement is the sender's copy: its room's is left out.
pub(super) fn on_socket(
    caller: &Caller,
    send: wire::Send,
) -> BoxFuture<'static, Result<Done, Error>> {
    let wire::Send { session_id, content } = send;
    let outbound = caller.outbound.clone();
    caller.stop_typing(session_id);
    let client_id = content.client_id.clone();
    // Whether it has joined or not: it may join before the message is delivered.
    outbound.remember_own(session_id, &client_id);
    let sending = run(&caller.app, caller.person().clone(), session_id, content);
    async move {
        let outcome = sending.await;
        if outcome.as_ref().map_or(true, |sent| sent.duplicate) {
            outbound.forget_own(session_id, &client_id);
        }
        outcome.map(|sent| Done::Sent { data: to_raw(&sent), session_id, seq: sent.message.seq })
    }
    .boxed()
}
