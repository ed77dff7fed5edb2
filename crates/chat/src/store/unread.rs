//! Counts of unread messages: sessions that an earlier version has written are counted once, in batches.
//!
//! Until then, such a session's unread messages are counted by each query, of its last 100.

use db::{
    Database, StoreError,
    text::{Statement, Value},
};
use identity::rows::tenant;

/// Position of the count in a tenant that is not counted yet: its sessions with higher ids are.
const POSITION: &str = "select cast(tenant_id as bigint) as tenant, session_id from uncounted_tenants \
    order by tenant_id limit 1";

/// $1 the tenant, $2 the position, $3 the maximum.
const NEXT: &str =
    "select id from sessions where tenant_id = $1 and id < $2 order by id desc limit $3";

/// $1 the session, $2 its tenant. It locks the session, so that no message comes meanwhile. No row if it is counted.
const OF_SESSION: &str = "select status from sessions \
    where id = $1 and tenant_id = $2 and contact_messages is null {for_no_key_update}";

/// $1 the session, $2 its tenant.
const COUNT_READ: &str = "update members as m set read_messages = (select count(*) from messages u \
      where u.tenant_id = m.tenant_id and u.session_id = m.session_id and u.sender_kind <> m.kind \
        and u.seq <= m.read_seq) \
    where m.session_id = $1 and m.tenant_id = $2 returning kind";

/// $1 the session, $2 its tenant.
const COUNT: &str = "update sessions as c set contact_messages = (select count(*) from messages u \
      where u.tenant_id = c.tenant_id and u.session_id = c.id and u.sender_kind = 'customer') \
    where c.id = $1 and c.tenant_id = $2 returning status";

/// $1 the session, $2 its tenant.
const NOTE_DELETED: &str = "insert into deleted_messages (tenant_id, session_id, seq, sender_kind) \
    select tenant_id, session_id, seq, sender_kind from messages \
    where session_id = $1 and tenant_id = $2 and rev is not null and deleted_at is not null \
    on conflict do nothing returning seq";

/// $1 the tenant, $2 the new position.
const MOVE: &str =
    "update uncounted_tenants set session_id = $2 where tenant_id = $1 and session_id > $2";

/// $1 the tenant.
const END: &str = "delete from uncounted_tenants where tenant_id = $1";

/// The counts in the database.
#[derive(Clone, Debug)]
pub struct UnreadTable(pub Database);

impl UnreadTable {
    /// Counts the next sessions, up to `limit`, each in a transaction of its own. Returns whether there may be more. A kill
    /// repeats a batch, which changes nothing. A session that others have locked is left for the next call.
    pub async fn count_earlier(&self, limit: u32) -> Result<bool, StoreError> {
        let position = self.0.read(Statement::new(POSITION, [])).await?;
        let Some(position) = position.first() else { return Ok(false) };
        let of_tenant = tenant(position)?.number();
        let position: uuid::Uuid = position.get("session_id")?;
        let next = [of_tenant.into(), position.into(), limit.into()];
        let next = self.0.read(Statement::new(NEXT, next)).await?;
        let (mut last, mut is_left) = (None, false);
        for row in &next {
            let session: uuid::Uuid = row.get("id")?;
            let of_session: [Value; 2] = [session.into(), of_tenant.into()];
            let statements = [OF_SESSION, COUNT_READ, COUNT, NOTE_DELETED];
            let statements = statements.map(|sql| Statement::new(sql, of_session.clone()));
            match self.0.write_while_found(statements).await {
                Ok(_) if is_left => {}
                Ok(_) => last = Some(session),
                Err(StoreError::Contended(_)) => is_left = true,
                Err(error) => return Err(error),
            }
        }
        match last {
            Some(last) => {
                drop(self.0.write(Statement::new(MOVE, [of_tenant.into(), last.into()])).await?);
            }
            None if is_left => {}
            None => drop(self.0.write(Statement::new(END, [of_tenant.into()])).await?),
        }
        Ok(true)
    }
}
