//! `session:leave`: the connection stops receiving the room's messages.

use std::future::ready;

use super::{Nothing, Reply};
use crate::{connection::Caller, error::Error, wire::InSession};

pub(super) fn run(
    caller: &Caller,
    leave: &InSession,
) -> impl Future<Output = Result<Reply, Error>> + use<> {
    caller.stop_typing(leave.session_id);
    caller.leave(leave.session_id);
    ready(Ok(Reply::with(&Nothing {})))
}
