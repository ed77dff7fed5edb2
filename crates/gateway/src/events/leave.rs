//! `session:leave`: the connection stops receiving the room's messages.

use std::future::ready;

use super::Reply;
use crate::caller::Caller;
use protocol::{InSession, answers::Nothing, error::Error};

pub(super) fn run(
    caller: &Caller,
    leave: &InSession,
) -> impl Future<Output = Result<Reply, Error>> + use<> {
    caller.stop_typing(leave.session_id);
    caller.leave(leave.session_id);
    ready(Ok(Reply::with(&Nothing {})))
}
