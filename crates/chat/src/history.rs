//! A page of a session's history, limited in bytes.

use crate::{
    Chat,
    reads::ReadPermit,
    store::{AROUND_A_BODY, HistoryRange, PAGE_BYTES},
};
use model::{
    ids::SessionId,
    message::{Body, Message},
    scope::Scope,
};
use protocol::error::Error;

impl Chat {
    /// Messages of a session that `me` is a member of, in `seq` order. Excess messages are cut off at the
    /// far end of the range.
    pub async fn history(
        &self,
        _permit: &ReadPermit,
        me: &Scope,
        id: SessionId,
        range: HistoryRange,
        limit: u32,
    ) -> Result<Vec<Message>, Error> {
        Ok(fit(self.store.history(me, id, range, limit).await?, range))
    }

    /// Messages of a session changed since a revision, as many as fit.
    pub async fn changes(
        &self,
        _permit: &ReadPermit,
        me: &Scope,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, Error> {
        // Keep the first ones, as after a position.
        Ok(fit(self.store.changes(me, id, rev, limit).await?, HistoryRange::After(0)))
    }
}

/// Approximate size in bytes.
pub fn bytes(messages: &[Message]) -> usize {
    messages.iter().map(size).sum()
}

fn size(message: &Message) -> usize {
    AROUND_A_BODY + message.body.as_ref().map_or(0, Body::json_len)
}

/// Number of these messages that fit into a page, at least one. The database counts the bytes of a
/// body, and some characters take more in JSON.
pub fn fitting<'a>(messages: impl Iterator<Item = &'a Message>) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Message| {
        bytes += size(message);
        bytes <= PAGE_BYTES
    };
    messages.take_while(fits).count().max(1)
}

fn fit(mut messages: Vec<Message>, range: HistoryRange) -> Vec<Message> {
    match range {
        HistoryRange::After(_) => messages.truncate(fitting(messages.iter())),
        HistoryRange::Before(_) => {
            let count = fitting(messages.iter().rev());
            messages.drain(..messages.len().saturating_sub(count));
        }
    }
    messages
}
