//! Drafts and messages as the databases keep them.

use super::{Appended, sql};
use model::message::{Draft, Message};

/// Placeholder that is stored in place of a message's missing text.
pub(super) fn placeholder(message: &Message) -> &'static str {
    if message.deleted_at.is_some() { sql::DELETED } else { sql::PICTURE }
}

/// Outcome of a draft whose `clientId` is taken: by itself, in a commit whose result was lost, or by
/// an earlier try.
pub(super) fn found(draft: &Draft, stored: Message) -> Appended {
    if stored.id == draft.id { Appended::Committed(stored) } else { Appended::Repeated(stored) }
}
