//! Full text search with PostgreSQL's own functions.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use tokio::{sync::Semaphore, time::timeout};
use tokio_postgres::{Row, error::SqlState};
use uuid::Uuid;

use super::{Params, Postgres, rows};
use crate::store::{
    search::{
        AROUND_A_TEXT, Found, Hits, MAX_CONCURRENT_SEARCHES, PAGE_BYTES, RANKED_MAX,
        SEARCH_TIMEOUT, Search, TooCostly, WAITING_BYTES, WAITING_MAX,
        hits::{merged, places},
        snippet::snippet,
        terms::Terms,
        tokens::{self, Placed, cleaned, tokens},
    },
    sql,
};
use db::postgres::{
    STATEMENT_TIMEOUT, connect,
    failure::{classify, unavailable},
    fitness::Fitness,
};
use db::{StoreError, postgres::config::PostgresConfig};
use model::scope::Scope;

/// The query with its words reduced by the database. The planner of the next statement sees it.
const REDUCE: &str =
    "select to_tsquery('frontdesk', $1)::text as query, to_tsquery('frontdesk', $2)::text as words";

/// $1 and $2 the member, $3 the limit, $4 the tenant: the member's messages that wait to be indexed.
const WAITING: &str = "select m.session_id, m.seq, m.id, m.body from participants me \
    join search_queue q on q.tenant_id = me.tenant_id and q.session_id = me.session_id \
    join messages m on m.tenant_id = q.tenant_id and m.session_id = q.session_id and m.seq = q.seq \
    where me.tenant_id = $4 and me.kind = $1 and me.person_id = $2 and not m.bodiless \
    order by q.id desc limit $3";

/// $1 and $2 the member, $3 the query, $4 its words, $5 to $8 the waiting messages, $9 the offset,
/// $10 the limit, $11 the tenant. The page is cut before any text is read.
macro_rules! search {
    () => {
        "with waiting as materialized ( \
           select session_id, seq, id, to_tsvector('frontdesk', words) as search \
           from unnest($5::uuid[], $6::bigint[], $7::uuid[], $8::text[]) as w(session_id, seq, id, words) \
         ), matching as ( \
           (select m.session_id, m.seq, m.id, m.search \
            from participants me join messages m on m.tenant_id = me.tenant_id and m.session_id = me.session_id \
            where me.tenant_id = $11 and me.kind = $1 and me.person_id = $2 and m.search @@ $3::text::tsquery \
              and not m.bodiless and m.id <> all($7) \
            order by m.id desc limit {ranked}) \
           union all \
           select distinct on (id) session_id, seq, id, search from waiting where search @@ $3::text::tsquery \
         ), page as ( \
           select session_id, seq, id, ts_rank(search, $4::text::tsquery) as rank from matching \
           order by rank desc, id desc offset $9 limit $10::bigint + 1 \
         ), sized as ( \
           select p.session_id, p.seq, row_number() over best as place, count(*) over () as hits, \
             sum(octet_length(m.body) + {around}) over best as bytes \
           from page p join messages m on m.tenant_id = $11 and m.session_id = p.session_id and m.seq = p.seq \
           window best as (order by p.rank desc, p.id desc) \
         ) \
         select {columns}, z.hits from sized z \
         join messages m on m.tenant_id = $11 and m.session_id = z.session_id and m.seq = z.seq {sender} \
         where z.place = 1 or (z.bytes <= {page} and z.place <= $10) order by z.place"
    };
}

/// $1 texts, $2 the words: positions in each text of words that are among them.
const HITS: &str = "select t.number, v.positions from unnest($1::text[]) with ordinality as t(words, number), \
    unnest(to_tsvector('frontdesk', t.words)) v \
    where v.lexeme = any (tsvector_to_array(to_tsvector('frontdesk', $2)))";

/// Connections for search only: the concurrent searches, and one for indexing.
const SEARCH_CONNECTIONS: usize = MAX_CONCURRENT_SEARCHES + 1;
/// Minimum of connections for everything else, however small the pool is.
const GENERAL_CONNECTIONS_MIN: usize = 3;

/// One search with all its inputs: it may outlive its caller.
struct RunningSearch {
    me: Scope,
    terms: Terms,
    offset: u32,
    limit: u32,
    db: Arc<db::postgres::Postgres>,
}

/// Messages that wait to be indexed, column by column.
#[derive(Default)]
struct Waiting {
    session_ids: Vec<Uuid>,
    seqs: Vec<i64>,
    ids: Vec<Uuid>,
    words: Vec<String>,
}

/// Reason why a search fails.
enum Failure {
    Costly,
    Store(StoreError),
}

#[async_trait]
impl Search for Postgres {
    async fn search(
        &self,
        me: &Scope,
        terms: &Terms,
        offset: u32,
        limit: u32,
    ) -> Result<Result<Hits, TooCostly>, StoreError> {
        let permit =
            timeout(STATEMENT_TIMEOUT, Arc::clone(&self.search.permits).acquire_owned()).await;
        let permit = permit.map_err(unavailable).and_then(|permit| permit.map_err(unavailable));
        let permit = permit.inspect_err(|error| self.db.counts.failed(error))?;
        let (me, terms, db) = (me.clone(), terms.clone(), Arc::clone(&self.db));
        let search = RunningSearch { me, terms, offset, limit, db };
        let pool = self.search.pool.clone();
        // The database continues a search whose caller has gone; the permit is held until it ends.
        let searching = tokio::spawn(async move {
            let found = search.run(&pool).await;
            drop(permit);
            found
        });
        searching.await.unwrap_or_else(|failed| Err(unavailable(failed)))
    }
}

/// Connections for search, which no other query uses.
#[derive(Debug)]
pub(super) struct SearchPool {
    pub(super) pool: Pool,
    /// One permit for each search.
    permits: Arc<Semaphore>,
}

impl SearchPool {
    /// Number of connections that are left for everything else.
    pub(super) fn general_size(pool_size: usize) -> usize {
        pool_size.saturating_sub(SEARCH_CONNECTIONS).max(GENERAL_CONNECTIONS_MIN)
    }

    /// Opens the pool. A statement has the time limit of a search.
    pub(super) fn open(config: &PostgresConfig, fitness: &Arc<Fitness>) -> anyhow::Result<Self> {
        let options = format!(
            "-c statement_timeout={} \
             -c plan_cache_mode=force_custom_plan",
            SEARCH_TIMEOUT.as_millis()
        );
        let pool = connect::pool(config, fitness, SEARCH_CONNECTIONS, &options)?;
        Ok(Self { pool, permits: Arc::new(Semaphore::new(MAX_CONCURRENT_SEARCHES)) })
    }
}

impl RunningSearch {
    async fn run(&self, pool: &Pool) -> Result<Result<Hits, TooCostly>, StoreError> {
        let client = pool.get().await.map_err(unavailable);
        let client = client.inspect_err(|error| self.db.counts.failed(error))?;
        let outcome = timeout(STATEMENT_TIMEOUT, Box::pin(self.hits(&client))).await;
        let outcome = match outcome {
            Ok(Err(Failure::Costly)) => Ok(Err(TooCostly)),
            Ok(Err(Failure::Store(error))) => Err(error),
            Ok(Ok(hits)) => Ok(Ok(hits)),
            Err(late) => Err(unavailable(late)),
        };
        self.db.give_back(outcome, client)
    }

    async fn hits(&self, client: &Object) -> Result<Hits, Failure> {
        let (kind, person) = (self.me.side.as_str(), self.me.id.as_str());
        let (query, any_token) = (self.terms.tsquery(), self.terms.any_token());
        let (to_reduce, waiting_max) = ([&query as _, &any_token as _], i64::from(WAITING_MAX));
        let tenant = self.me.tenant.number();
        let of_me: Params<'_> = &[&kind, &person, &waiting_max, &tenant];
        let (reduced, waiting) =
            tokio::try_join!(select(client, REDUCE, &to_reduce), select(client, WAITING, of_me),)?;
        let Some(reduced) = reduced.first() else { return Ok(Hits::default()) };
        let (query, any_token) =
            (rows::get::<&str>(reduced, "query")?, rows::get::<&str>(reduced, "words")?);
        let waiting = Waiting::read(&waiting)?;
        let sql = format!(
            search!(),
            ranked = RANKED_MAX,
            around = AROUND_A_TEXT,
            page = PAGE_BYTES,
            columns = sql::COLUMNS,
            sender = sql::SENDER,
        );
        let (offset, limit) = (i64::from(self.offset), i64::from(self.limit));
        let params: Params<'_> = &[
            &kind,
            &person,
            &query,
            &any_token,
            &waiting.session_ids,
            &waiting.seqs,
            &waiting.ids,
            &waiting.words,
            &offset,
            &limit,
            &tenant,
        ];
        let page = select(client, &sql, params).await?;
        let found = self.found(client, &page).await?;
        let hits = page.first().map_or(Ok(0), |row| rows::seq(row, "hits"))?;
        Ok(Hits { more: hits > found.len() as u64, found })
    }

    /// The messages of a page, with their snippets.
    async fn found(&self, client: &Object, page: &[Row]) -> Result<Vec<Found>, Failure> {
        let messages: Vec<_> = page.iter().map(rows::message).collect::<Result<_, _>>()?;
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<&str> = messages
            .iter()
            .map(|message| message.body.as_ref().map_or("", |body| body.as_str()))
            .collect();
        let all: Vec<Vec<Placed>> = texts.iter().map(|text| tokens(text)).collect();
        let reduced = self.reduced(client, &all).await?;
        let parts = self.terms.parts();
        let snippets: Vec<_> = texts
            .iter()
            .zip(&all)
            .zip(reduced)
            .map(|((text, tokens), mut hits)| {
                hits.extend(places(&parts, tokens));
                snippet(text, &merged(hits))
            })
            .collect();
        let found = messages.into_iter().zip(snippets);
        Ok(found.map(|(message, snippet)| Found { message, snippet }).collect())
    }

    /// The places in each text of words that the language reduces to the same form as a wanted
    /// word.
    async fn reduced(
        &self,
        client: &Object,
        texts: &[Vec<Placed>],
    ) -> Result<Vec<Vec<Range<usize>>>, Failure> {
        let mut hits = vec![Vec::new(); texts.len()];
        let wanted = self.terms.wanted_words();
        if wanted.is_empty() {
            return Ok(hits);
        }
        let words: Vec<String> = texts.iter().map(|tokens| tokens::words(tokens)).collect();
        for row in select(client, HITS, &[&words, &wanted]).await? {
            let number = rows::seq(&row, "number")?.saturating_sub(1);
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            let (Some(hits), Some(tokens)) = (hits.get_mut(at), texts.get(at)) else { continue };
            let words: Vec<_> = tokens.iter().filter(|placed| placed.token.is_word()).collect();
            let positions: Vec<i16> = rows::get(&row, "positions")?;
            // The database counts words from 1.
            let numbers = positions.into_iter().filter_map(|at| usize::try_from(at - 1).ok());
            hits.extend(numbers.filter_map(|at| Some(words.get(at)?.place.clone())));
        }
        Ok(hits)
    }
}

impl Waiting {
    fn read(rows: &[Row]) -> Result<Self, StoreError> {
        let (mut waiting, mut bytes) = (Self::default(), 0);
        for row in rows {
            let body: &str = rows::get(row, "body")?;
            bytes += body.len();
            if bytes > WAITING_BYTES {
                break;
            }
            waiting.session_ids.push(rows::get(row, "session_id")?);
            waiting.seqs.push(rows::get(row, "seq")?);
            waiting.ids.push(rows::get(row, "id")?);
            waiting.words.push(cleaned(body));
        }
        Ok(waiting)
    }
}

async fn select(client: &Object, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
    let rows = async {
        let statement = client.prepare_cached(sql).await?;
        client.query(&statement, params).await
    };
    rows.await.map_err(|error| {
        let code = error.code().cloned();
        let costly = code.is_some_and(|code| is_of_its_input(&code));
        if costly { Failure::Costly } else { Failure::Store(classify(error)) }
    })
}

/// Whether a statement failed because of its input: it took too long, or the database or its
/// functions can't process the values. The connection and the database are healthy.
pub(super) fn is_of_its_input(code: &SqlState) -> bool {
    *code == SqlState::QUERY_CANCELED
        || *code == SqlState::INTERNAL_ERROR
        || ["22", "54"].iter().any(|class| code.code().starts_with(class))
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use frontdesk_test_support::Servers;

    use super::*;
    use crate::store::contract::world::config;

    #[tokio::test]
    async fn c3_a_query_that_the_database_does_not_bear_is_its_callers() {
        let database = Servers::get().await.postgres_database().await;
        let pool = SearchPool::open(&config(&database), &Arc::default()).unwrap().pool;
        let client = pool.get().await.unwrap();
        let backend = "select pg_backend_pid()";
        let before: i32 = client.query_one(backend, &[]).await.unwrap().get(0);
        let began = Instant::now();
        let odd = "- ".repeat(60);
        for (sql, odd) in [
            ("select 1 where websearch_to_tsquery('simple', $1) is not null", odd.as_str()),
            ("select 1 where $1::text::tsquery is not null and pg_sleep(20) is not null", "'x'"),
            ("select 1 where repeat($1, 1100000)::tsvector is not null", "x"),
            ("select 1 where $1::text::integer = 1", "x"),
        ] {
            let failure = select(&client, sql, &[&odd]).await;
            assert!(matches!(failure, Err(Failure::Costly)), "{sql}");
        }
        assert!(began.elapsed() < STATEMENT_TIMEOUT, "the sleep ended before its time");
        let after: i32 = client.query_one(backend, &[]).await.unwrap().get(0);
        assert_eq!(before, after, "the connection is as good as before");
        let unknown = select(&client, "select 1 from nowhere", &[]).await;
        assert!(matches!(unknown, Err(Failure::Store(StoreError::Refused(_)))));
    }
}
