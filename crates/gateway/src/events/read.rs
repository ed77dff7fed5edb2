//! `message:read`: a member's read position moves forward, and the other side is notified.

use super::Reply;
use crate::caller::Caller;
use protocol::{Read, error::Error};

pub(super) async fn run(caller: Caller, read: Read) -> Result<Reply, Error> {
    let position = caller.gateway.chat.read(caller.scope(), read.session_id, read.seq).await?;
    Ok(Reply::with(&position))
}
