//! Drafts, and the messages that they become.

use jiff::Timestamp;

use super::{Appended, sql};
use crate::{
    message::{Draft, Message, MessageKind},
    person::Profile,
};

impl Message {
    /// Placeholder that is stored in place of a missing text.
    pub(super) fn stand_in(&self) -> &'static str {
        if self.deleted_at.is_some() { sql::DELETED } else { sql::PICTURE }
    }
}

impl Draft {
    /// The committed message of this draft.
    pub(super) fn committed(
        &self,
        seq: u64,
        sender_name: String,
        created_at: Timestamp,
    ) -> Message {
        Message {
            id: self.id,
            session_id: self.session_id,
            seq,
            client_id: self.client_id.clone(),
            sender: Profile { person: self.sender.clone(), name: sender_name },
            kind: if self.image.is_some() { MessageKind::Image } else { MessageKind::Text },
            body: self.body.clone(),
            image: self.image.clone(),
            reply_to: self.reply_to,
            reactions: Vec::new(),
            created_at,
            edited_at: None,
            deleted_at: None,
            rev: None,
        }
    }

    /// Outcome of a draft whose `clientId` is taken: by itself, in a commit whose result was lost,
    /// or by an earlier try.
    pub(super) fn found(&self, stored: Message) -> Appended {
        if stored.id == self.id { Appended::Committed(stored) } else { Appended::Repeated(stored) }
    }
}
