//! `message:edit`, `message:delete` and `message:react`: a message changes for everyone in the session.

use serde::Serialize;
use utoipa::ToSchema;

use super::Reply;
use crate::{
    app::App,
    connection::Caller,
    error::Error,
    message::{Message, amend::Amendment},
    person::Person,
    wire::Amend,
};

/// The message after the change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    message: Message,
}

/// Shared by HTTP and every framing. Idempotent.
pub(crate) async fn run(app: &App, me: &Person, amend: Amend) -> Result<Changed, Error> {
    app.may_write(me)?;
    let Amend { session_id, message_id, amendment } = amend;
    let amended = app.store.amend(me, session_id, message_id, &amendment).await??;
    if matches!(amendment, Amendment::Delete) {
        app.images.withdrawn.notify_one();
    }
    // Also without a change: the outcome of an earlier attempt may not have been published.
    if amended.changed || amended.message.rev.is_some() {
        app.inbox.amended(&amended.message);
    }
    Ok(Changed { message: amended.message })
}

pub(super) async fn on_socket(caller: Caller, amend: Amend) -> Result<Reply, Error> {
    run(&caller.app, caller.person(), amend).await.map(|changed| Reply::with(&changed))
}
