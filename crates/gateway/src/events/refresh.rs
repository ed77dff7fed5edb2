//! `auth:refresh`: a newer token of the same person extends the connection.

use jiff::Timestamp;

use super::Reply;
use crate::caller::Caller;
use protocol::{AuthRefresh, answers::Refreshed, error::Error};

pub(super) async fn run(caller: Caller, refresh: AuthRefresh) -> Result<Reply, Error> {
    let identity = caller.gateway.identify(&refresh.token).await?;
    if identity.scope.person() != caller.scope().person() {
        return Err(Error::Forbidden("the token belongs to another person"));
    }
    let expires_at = Timestamp::from_second(identity.expires_at).unwrap_or(Timestamp::MAX);
    let older = |_| Error::invalid("token", "expires before the connection's current token");
    caller.refresh(identity).map_err(older)?;
    Ok(Reply::with(&Refreshed { expires_at }))
}
