//! `message:read`: a member's read position moves forward, and the other side is notified.

use serde::Serialize;
use utoipa::ToSchema;

use super::Reply;
use crate::{
    app::App,
    connection::Caller,
    error::Error,
    person::Person,
    session::SessionId,
    wire::{self, broadcast::Broadcast},
};

/// The current position.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Position {
    session_id: SessionId,
    seq: u64,
}

/// Shared by HTTP and every framing.
pub(crate) async fn run(
    app: &App,
    me: &Person,
    session_id: SessionId,
    seq: u64,
) -> Result<Position, Error> {
    let mark = app.store.mark_read(me, session_id, seq).await?.ok_or(Error::SessionNotFound)?;
    if mark.moved {
        app.bus.publish(Broadcast::message_read(session_id, me, mark.seq));
        app.inbox.changed(session_id);
    }
    Ok(Position { session_id, seq: mark.seq })
}

pub(super) async fn on_socket(caller: Caller, read: wire::Read) -> Result<Reply, Error> {
    let position = run(&caller.app, caller.person(), read.session_id, read.seq).await?;
    Ok(Reply::with(&position))
}
