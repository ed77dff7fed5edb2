//! `/api/chats/search`: full-text search in the caller's own messages.

use std::{sync::Arc, time::Instant};

use axum::{Json as JsonBody, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    cursor::{self, Page},
    request::{Authenticated, Params},
};
use crate::Gateway;
use chat::{
    history,
    reads::Operation,
    store::search::{Found, Hits, terms::Terms},
};
use protocol::{
    error::Error,
    problems::{Authentication, BusyNow, Costly, Input, Problems},
};

/// Maximum length of a query, in characters.
const QUERY_MAX: usize = 200;
/// Maximum number of hits over all pages. More hits call for a better query.
const HITS_MAX: u32 = 1_000;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Search {
    /// Words, `"a phrase"`, `or`, `-without`; accents are ignored.
    #[param(required, value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\u0000]*[^\s\u0000][^\u0000]*$")]
    q: Option<String>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
    #[param(schema_with = cursor::limit_schema)]
    limit: Option<String>,
}

impl Search {
    /// Query, offset and number of hits.
    pub(super) fn wanted(self) -> Result<(String, u32, u32), Error> {
        let query = self.q.ok_or_else(|| Error::invalid("q", "is missing"))?;
        if query.trim().is_empty() || query.contains('\0') || query.chars().count() > QUERY_MAX {
            return Err(Error::invalid("q", format!("must have 1 to {QUERY_MAX} characters")));
        }
        let offset = self.cursor.as_deref().map_or(Ok(0), cursor::to_offset)?;
        let limit = cursor::limit(self.limit.as_deref())?.min(HITS_MAX.saturating_sub(offset));
        Ok((query, offset, limit))
    }
}

/// Full-text search in the caller's own messages: the newest 1,000 that match, the best first. Only the first
/// 16 words of `q` count.
#[utoipa::path(
    get, path = "", tag = "chats", params(Search),
    responses((status = 200, body = Page<Found>, description = "A page of hits."), Problems<(Authentication, Input, BusyNow, Costly)>)
)]
pub(crate) async fn search(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    Params(search): Params<Search>,
) -> Result<JsonBody<Page<Found>>, Error> {
    let (query, offset, limit) = search.wanted()?;
    // A query without words has no hits.
    let Some(terms) = Terms::parse(&query) else {
        return Ok(JsonBody(Page { items: Vec::new(), next_cursor: None }));
    };
    let began = Instant::now();
    let _permit = gateway.chat.reads.permit(Operation::Search, &me).await?;
    let searched = gateway.chat.store.search(&me, &terms, offset, limit).await?;
    let counts = &gateway.counts.search;
    counts.took.took(began.elapsed());
    let outcome = if searched.is_ok() { &counts.answered } else { &counts.too_costly };
    outcome.inc();
    let Hits { found: mut items, more } = searched?;
    let fitting = history::fitting(items.iter().map(|found| &found.message));
    let cut = fitting < items.len();
    items.truncate(fitting);
    let next = offset + u32::try_from(items.len()).unwrap_or(limit);
    let more = limit > 0 && (more || cut) && next < HITS_MAX;
    Ok(JsonBody(Page { items, next_cursor: more.then(|| cursor::of_offset(next)) }))
}
