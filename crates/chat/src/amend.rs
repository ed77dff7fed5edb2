//! Editing, deletion and reactions: a message changes for everyone in the session.

use crate::Chat;
use model::{message::amend::Amendment, scope::Scope};
use protocol::{Amend, answers::Changed, error::Error};

impl Chat {
    /// Changes a message. Idempotent.
    pub async fn amend(&self, me: &Scope, amend: Amend) -> Result<Changed, Error> {
        self.still_admits(me)?;
        let Amend { session_id, message_id, amendment } = amend;
        let amended = self.store.amend(me, session_id, message_id, &amendment).await?;
        let amended = amended.map_err(Error::unamendable)?;
        if matches!(amendment, Amendment::Delete) {
            self.images.withdrawn.notify_one();
        }
        // Also without a change: the outcome of an earlier attempt may not have been published.
        if amended.changed || amended.message.rev.is_some() {
            self.inbox.amended(&amended.message);
        }
        Ok(Changed { message: amended.message })
    }
}
