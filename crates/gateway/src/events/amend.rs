//! `message:edit`, `message:delete` and `message:react`: a message changes for everyone in the session.

use super::Reply;
use crate::caller::Caller;
use protocol::{Amend, error::Error};

pub(super) async fn run(caller: Caller, amend: Amend) -> Result<Reply, Error> {
    let changed = caller.gateway.amend(caller.scope(), amend).await?;
    Ok(Reply::with(&changed))
}
