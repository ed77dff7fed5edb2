//! A page of a session's history, as large as a client can take.

use crate::{
    app::App,
    error::Error,
    limits::reads::ReadPermit,
    message::{Body, Message},
    person::Person,
    session::SessionId,
    store::{AROUND_A_BODY, PAGE_BYTES, Span},
};

/// Messages of a session that `me` is a member of, in `seq` order. What doesn't fit is cut off at
/// the far end of the span.
pub(crate) async fn page(
    _permit: &ReadPermit,
    app: &App,
    me: &Person,
    id: SessionId,
    span: Span,
    limit: u32,
) -> Result<Vec<Message>, Error> {
    Ok(fit(app.store.history(me, id, span, limit).await?, span))
}

/// What has changed in a session since a revision, as far as it fits.
pub(crate) async fn changes(
    _permit: &ReadPermit,
    app: &App,
    me: &Person,
    id: SessionId,
    rev: u64,
    limit: u32,
) -> Result<Vec<Message>, Error> {
    // The first ones, like those after a place.
    Ok(fit(app.store.changes(me, id, rev, limit).await?, Span::After(0)))
}

/// How many bytes these hold, about.
pub(super) fn bytes(messages: &[Message]) -> usize {
    messages.iter().map(size).sum()
}

fn size(message: &Message) -> usize {
    AROUND_A_BODY + message.body.as_ref().map_or(0, Body::json_len)
}

/// How many of these fit into a page, one at least. The database counts the bytes of a body; in JSON
/// some characters have more.
pub(crate) fn fitting<'a>(messages: impl Iterator<Item = &'a Message>) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Message| {
        bytes += size(message);
        bytes <= PAGE_BYTES
    };
    messages.take_while(fits).count().max(1)
}

fn fit(mut messages: Vec<Message>, span: Span) -> Vec<Message> {
    match span {
        Span::After(_) => messages.truncate(fitting(messages.iter())),
        Span::Before(_) => {
            let count = fitting(messages.iter().rev());
            messages.drain(..messages.len().saturating_sub(count));
        }
    }
    messages
}
