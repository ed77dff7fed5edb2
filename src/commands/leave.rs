//! `session:leave`: the connection hears the room no longer.

use std::future::ready;

use super::{Done, Nothing};
use crate::{
    connection::{Caller, recovery::Mark},
    error::Error,
    wire::{InSession, broadcast::Room},
};

pub(super) fn run(
    caller: &Caller,
    leave: &InSession,
) -> impl Future<Output = Result<Done, Error>> + use<> {
    caller.joins.end(leave.session_id);
    caller.stop_typing(leave.session_id);
    caller.app.hub.leave(&Room::Session(leave.session_id), caller.conn());
    caller.outbound.mark(Mark::Left { session_id: leave.session_id });
    ready(Ok(Done::with(&Nothing {})))
}
