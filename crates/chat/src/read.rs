//! A member's read position moves forward, and the other side is notified.

use crate::Chat;
use bus::broadcast::Broadcast;
use model::{ids::SessionId, scope::Scope};
use protocol::{answers::Position, error::Error};

impl Chat {
    /// Sets the read position of `me`, at most to the session's end.
    pub async fn read(
        &self,
        me: &Scope,
        session_id: SessionId,
        seq: u64,
    ) -> Result<Position, Error> {
        let mark =
            self.store.mark_read(me, session_id, seq).await?.ok_or(Error::SessionNotFound)?;
        if mark.moved {
            self.bus.publish(Broadcast::message_read(session_id, me, mark.seq));
            self.inbox.changed(me.session(session_id));
        }
        Ok(Position { session_id, seq: mark.seq })
    }
}
