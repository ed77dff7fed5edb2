//! `typing:start` and `typing:stop`: published to the room, never stored. Few clients need an answer,
//! but a client that retries unacknowledged events would delay its next message without one.

use std::future::ready;

use tokio::time::Instant;

use super::Reply;
use crate::caller::Caller;
use bus::broadcast::{Broadcast, Room};
use protocol::{InSession, answers::Nothing, error::Error};

/// Requires a join of the session, which has checked membership.
pub(super) fn run(
    caller: &Caller,
    typing: &InSession,
    on: bool,
) -> impl Future<Output = Result<Reply, Error>> + use<> {
    let room = Room::Session(caller.scope().session(typing.session_id));
    if !caller.gateway.chat.hub.is_in(&room, caller.conn()) {
        return ready(Err(Error::SessionNotFound));
    }
    let id = typing.session_id;
    if !on {
        caller.stop_typing(id);
    } else if caller.typing.start(id, Instant::now()) {
        caller.gateway.chat.bus.publish(Broadcast::typing(id, caller.scope(), true));
    }
    ready(Ok(Reply::with(&Nothing {})))
}
