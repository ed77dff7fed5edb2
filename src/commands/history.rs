//! A page of a session's history, as large as a client can take.

use crate::{
    app::App,
    error::Error,
    message::{Body, Message},
    person::Person,
    session::SessionId,
    store::Span,
};

/// How many bytes of JSON a page has, about: common WebSocket clients take frames of 1 MiB at most. One
/// message is always in it.
const PAGE_BYTES: usize = 256 * 1024;
/// How many pages a node reads at the same time: each may be megabytes before it is cut.
pub(crate) const TURNS: usize = 8;
/// What a message is in JSON beside its body, at most.
const AROUND_A_BODY: usize = 2_048;

/// Messages of a session that `me` is a member of, in `seq` order. What doesn't fit is cut off at
/// the far end of the span.
pub(crate) async fn page(
    app: &App,
    me: &Person,
    id: SessionId,
    span: Span,
    limit: u32,
) -> Result<Vec<Message>, Error> {
    let _turn = app.history_turns.acquire().await;
    Ok(fit(app.store.history(me, id, span, limit).await?, span))
}

fn fit(mut messages: Vec<Message>, span: Span) -> Vec<Message> {
    let mut bytes = 0;
    let mut fits = |message: &Message| {
        bytes += AROUND_A_BODY + message.body.as_ref().map_or(0, Body::json_len);
        bytes <= PAGE_BYTES
    };
    match span {
        Span::After(_) => {
            let count = messages.iter().take_while(|message| fits(message)).count();
            messages.truncate(count.max(1));
        }
        Span::Before(_) => {
            let count = messages.iter().rev().take_while(|message| fits(message)).count();
            messages.drain(..messages.len().saturating_sub(count.max(1)));
        }
    }
    messages
}
