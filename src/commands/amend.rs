//! `message:edit`, `message:delete` and `message:react`: a message changes, and everyone in the session
//! sees it change.

use serde::Serialize;
use utoipa::ToSchema;

use super::Done;
use crate::{
    app::App,
    connection::Caller,
    error::Error,
    message::{Message, amend::Amendment},
    person::Person,
    wire::Amend,
};

/// The message as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    message: Message,
}

/// The same for HTTP and every framing. Safe to repeat: what is as it should be stays so.
pub(crate) async fn run(app: &App, me: &Person, amend: Amend) -> Result<Changed, Error> {
    app.may_write(me)?;
    let Amend { session_id, message_id, amendment } = amend;
    let amended = app.store.amend(me, session_id, message_id, &amendment).await??;
    if matches!(amendment, Amendment::Delete) {
        app.images.withdrawn.notify_one();
    }
    // Also where it was like that already: an earlier try may have come to an end that nobody heard of.
    if amended.changed || amended.message.rev.is_some() {
        app.inbox.amended(&amended.message);
    }
    Ok(Changed { message: amended.message })
}

pub(super) async fn on_socket(caller: Caller, amend: Amend) -> Result<Done, Error> {
    run(&caller.app, caller.person(), amend).await.map(|changed| Done::with(&changed))
}
