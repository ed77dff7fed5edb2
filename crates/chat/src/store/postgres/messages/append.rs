//! The group commit: a batch of drafts in one transaction and one round trip.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join5;
use tokio::time::timeout;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::super::{Params, Postgres, rows};
use crate::store::{search::tokens::cleaned, sql};
use db::StoreError;
use db::postgres::STATEMENT_TIMEOUT;
use model::{
    ids::SessionKey,
    message::{Draft, Message},
};

/// Maximum bytes of a text, and of its words, that are indexed in the commit of the message. The database takes some
/// 10 µs for it.
const SHORT_TEXT: usize = 512;

/// Locks the sessions' rows, except those that another transaction has locked: a batch waits for no
/// session. The next statement's snapshot is therefore younger than any commit in the locked
/// sessions. It reads their keys from a setting of this transaction, a JSON object, because a join with a list would
/// compare each draft with each session. Only sessions of the senders are locked: a send into a session of others never
/// meets its lock, so its answer does not show how busy that session is.
const LOCK: &str = "
with locked as (
  select s.tenant_id, s.id from sessions s where (s.tenant_id, s.id) in (
    select m.tenant_id, m.session_id from unnest($1::uuid[], $2::text[], $3::text[], $4::int[])
      as i(session_id, kind, person_id, tenant_id)
    join participants m using (session_id, kind, person_id, tenant_id))
  for no key update of s skip locked)
select set_config('frontdesk.locked', coalesce(json_object_agg(tenant_id || '/' || id, 1)::text, '{}'), true)
from locked";

/// Outcomes of a batch. Only sends whose session is locked by this transaction are written, which
/// keeps law I6. If pushes are enabled, their jobs are inserted at the mark. A note may answer a
/// message of the session to which it belongs.
pub(in crate::store::postgres) const APPEND: &str = "
with mine as materialized (
  select nullif(current_setting('frontdesk.locked', true), '')::jsonb as sessions
), input as (
  select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                       $7::bool[], $8::text[], $9::uuid[], $10::int[], $11::text[]) with ordinality
    as i(session_id, id, sender_kind, sender_id, client_id, body, bodiless, image, reply_to, tenant_id,
         words, ord)
), judged as materialized (
  select i.*, c.last_seq, me.name, old.seq as old_seq,
    case
      when me.session_id is null then 'absent'
      when ((select sessions from mine) ? (i.tenant_id || '/' || i.session_id)) is not true then 'locked'
      when old.seq is not null then 'repeat'
      when c.status <> 'open' then 'closed'
      when i.reply_to is not null
        and (select true from messages r where r.tenant_id = i.tenant_id
          and r.session_id = i.session_id and r.id = i.reply_to limit 1) is null
        and (select true from messages r where r.tenant_id = i.tenant_id
          and r.session_id = c.notes_of and r.id = i.reply_to limit 1) is null then 'no_reply'
      when i.image is not null and (
        (select true from uploads u where u.key = i.image::jsonb ->> 'key'
          and u.tenant_id = i.tenant_id and u.session_id = i.session_id and u.kind = i.sender_kind and u.person_id = i.sender_id
          and u.message_id is null and not u.refused limit 1) is null
        or exists (select from input e where e.ord < i.ord and e.tenant_id = i.tenant_id
          and e.session_id = i.session_id and e.image::jsonb ->> 'key' = i.image::jsonb ->> 'key')) then 'no_image'
      else 'new'
    end as outcome
  from input i
  left join participants me on me.session_id = i.session_id and me.kind = i.sender_kind
    and me.person_id = i.sender_id and me.tenant_id = i.tenant_id
  left join sessions c on c.tenant_id = i.tenant_id and c.id = i.session_id
  left join messages old on old.tenant_id = i.tenant_id and old.session_id = i.session_id
    and old.sender_kind = i.sender_kind and old.sender_id = i.sender_id and old.client_id = i.client_id
), numbered as (
  select *,
    last_seq + count(*) filter (where outcome = 'new') over (partition by tenant_id, session_id order by ord) as seq,
    case when outcome = 'new' and words is not null then frontdesk_vector(words) end as search
  from judged
), inserted as (
  insert into messages (tenant_id, session_id, seq, id, sender_kind, sender_id, client_id, kind, body,
                        bodiless, image, reply_to, created_at, search)
  select tenant_id, session_id, seq, id, sender_kind, sender_id, client_id, 'text', body, bodiless,
         image::jsonb, reply_to, statement_timestamp(), search
  from numbered where outcome = 'new'
), queued as (
  insert into search_queue (tenant_id, session_id, seq)
  select tenant_id, session_id, seq from numbered where outcome = 'new' and search is null and not bodiless
), shown as (
  update uploads u set message_id = n.id
  from numbered n where n.outcome = 'new' and n.image is not null and u.tenant_id = n.tenant_id and u.key = n.image::jsonb ->> 'key'
), bumped as (
  update sessions c set last_seq = top.seq, active_at = statement_timestamp(),
    contact_messages = c.contact_messages + top.of_contact,
    waiting = case when c.waiting = 'snoozed' and top.of_contact > 0 then null else c.waiting end,
    snoozed_until = case when top.of_contact > 0 then null else c.snoozed_until end
  from (select tenant_id, session_id, max(seq) as seq,
          count(*) filter (where sender_kind = 'customer') as of_contact
        from numbered where outcome = 'new' group by tenant_id, session_id) top
  where c.tenant_id = top.tenant_id and c.id = top.session_id
) /* pushes */
select outcome, name, coalesce(old_seq, seq) as seq, statement_timestamp() as created_at from numbered order by ord";

/// Mark in [`APPEND`] that [`PUSHED`] replaces.
const PUSHES_MARK: &str = "/* pushes */";

/// Adds a job for each other member of the newly numbered messages, unless one is waiting
/// ([`crate::pushes`]). A node that leases a waiting job waits for this transaction before it reads the job's
/// content.
const PUSHED: &str = ", pushed as (
  insert into jobs (tenant_id, queue, kind, key, subject, payload, run_at)
  select n.tenant_id, 'pushes', 'message', n.session_id || ':' || m.kind || ':' || m.person_id,
         m.kind || ':' || m.person_id,
         json_build_object('sessionId', n.session_id, 'kind', m.kind, 'personId', m.person_id,
                           'seq', min(n.seq))::text,
         statement_timestamp() + interval 'DELAY milliseconds'
  from numbered n join participants m on m.tenant_id = n.tenant_id and m.session_id = n.session_id
    and m.kind <> n.sender_kind and not m.muted
  where n.outcome = 'new'
  group by n.tenant_id, n.session_id, m.kind, m.person_id
  on conflict (tenant_id, queue, key) where state = 'waiting' do nothing
)";

impl Postgres {
    /// Writes a job beside each message, due after `delay`; `None` disables pushes.
    pub fn with_pushes(mut self, delay: Option<Duration>) -> Self {
        self.push_delay = delay;
        if let Some(delay) = delay {
            let pushed = PUSHED.replace("DELAY", &delay.as_millis().to_string());
            self.append = APPEND.replace(PUSHES_MARK, &pushed).into();
        }
        self
    }

    /// One round trip: the five statements are sent together. If the third fails, the last one
    /// rolls back.
    pub(super) async fn append_rows(
        &self,
        drafts: &[Draft],
        limit: Duration,
    ) -> Result<Vec<Row>, StoreError> {
        let columns = Columns::of(drafts);
        let opening = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {}",
            limit.as_millis()
        );
        let client = self.db.client().await?;
        let rows = async {
            let lock = client.prepare_cached(LOCK).await?;
            let append = client.prepare_cached(&self.append).await?;
            let lock_params: Params<'_> = &[
                &columns.session_ids,
                &columns.sender_kinds,
                &columns.sender_ids,
                &columns.tenants,
            ];
            let params = columns.params();
            let (begun, locked, rows, unlimited, committed) = Box::pin(join5(
                client.batch_execute(&opening),
                client.query(&lock, lock_params),
                client.query(&append, &params),
                // A commit that is cancelled while it waits for a standby would look like a
                // success.
                client.batch_execute("SET LOCAL statement_timeout = 0"),
                client.batch_execute("COMMIT"),
            ))
            .await;
            let rows = begun.and(locked).and(rows)?;
            unlimited.and(committed).map(|()| rows)
        };
        let outcome = timeout(STATEMENT_TIMEOUT, rows).await;
        self.db.settle_answer(outcome, client)
    }

    /// The stored messages of repeated drafts, by session and `seq`. It takes no read permit: the
    /// writer must not wait for queries.
    pub(super) async fn stored(
        &self,
        places: &[(SessionKey, i64)],
    ) -> Result<HashMap<(SessionKey, i64), Message>, StoreError> {
        if places.is_empty() {
            return Ok(HashMap::new());
        }
        let tenants: Vec<i32> = places.iter().map(|(key, _)| key.tenant.number()).collect();
        let (ids, seqs): (Vec<Uuid>, Vec<i64>) =
            places.iter().map(|(key, seq)| (key.id.0, *seq)).unzip();
        let sql = format!("select {} from {STORED}{}", sql::COLUMNS, sql::SENDER);
        let rows = self.db.query_at_once(&sql, &[&tenants, &ids, &seqs]).await?;
        let message = |row| {
            let message = rows::message(row)?;
            let place = (message.session(), rows::get(row, "seq")?);
            Ok((place, message))
        };
        rows.iter().map(message).collect()
    }
}

const STORED: &str = "unnest($1::int[], $2::uuid[], $3::bigint[]) as k(tenant_id, session_id, seq) \
    join messages m on m.tenant_id = k.tenant_id and m.session_id = k.session_id and m.seq = k.seq ";

/// The drafts, column by column, as `unnest` takes them.
struct Columns<'a> {
    session_ids: Vec<Uuid>,
    ids: Vec<Uuid>,
    sender_kinds: Vec<&'a str>,
    sender_ids: Vec<&'a str>,
    client_ids: Vec<&'a str>,
    bodies: Vec<&'a str>,
    bodiless: Vec<bool>,
    images: Vec<Option<String>>,
    replies_to: Vec<Option<Uuid>>,
    tenants: Vec<i32>,
    /// Words of the texts that are indexed in this commit.
    words: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    fn of(drafts: &'a [Draft]) -> Self {
        Self {
            session_ids: drafts.iter().map(|draft| draft.session_id.0).collect(),
            ids: drafts.iter().map(|draft| draft.id).collect(),
            sender_kinds: drafts.iter().map(|draft| draft.sender.side.as_str()).collect(),
            sender_ids: drafts.iter().map(|draft| draft.sender.id.as_str()).collect(),
            client_ids: drafts.iter().map(|draft| draft.client_id.as_str()).collect(),
            bodies: drafts
                .iter()
                .map(|draft| sql::body(draft.body.as_ref(), sql::PICTURE))
                .collect(),
            bodiless: drafts.iter().map(|draft| draft.body.is_none()).collect(),
            images: drafts.iter().map(|draft| draft.image.as_ref().map(sql::json)).collect(),
            replies_to: drafts.iter().map(|draft| draft.reply_to).collect(),
            tenants: drafts.iter().map(|draft| draft.sender.tenant.number()).collect(),
            words: drafts.iter().map(short_words).collect(),
        }
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 11] {
        [
            &self.session_ids,
            &self.ids,
            &self.sender_kinds,
            &self.sender_ids,
            &self.client_ids,
            &self.bodies,
            &self.bodiless,
            &self.images,
            &self.replies_to,
            &self.tenants,
            &self.words,
        ]
    }
}

/// Words of a text that is indexed beside its message. Longer ones wait in the queue.
fn short_words(draft: &Draft) -> Option<String> {
    let body = draft.body.as_ref()?.as_str();
    (body.len() <= SHORT_TEXT).then(|| cleaned(body)).filter(|words| words.len() <= SHORT_TEXT)
}
