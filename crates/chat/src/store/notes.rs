//! Private notes of a session: a session of their own, whose members are its professionals.
//!
//! Everything that a session has, notes have too: order, history, marks, search, pictures. Its customer is no member,
//! so each statement that checks the membership keeps them out.

use db::{
    Database, StoreError,
    text::{Statement, Value},
};
use model::{ids::SessionId, person::Side, scope::Scope};
use platform::new_id;

/// $1 the session or its notes, $2 the tenant, $3 the professional.
const FIND: &str = "select n.id from participants me \
      join sessions n on n.tenant_id = me.tenant_id and n.notes_of = me.session_id \
    where me.session_id = $1 and me.tenant_id = $2 and me.kind = 'dentist' and me.person_id = $3 \
    union all select n.id from participants me \
      join sessions n on n.tenant_id = me.tenant_id and n.id = me.session_id and n.notes_of is not null \
    where me.session_id = $1 and me.tenant_id = $2 and me.kind = 'dentist' and me.person_id = $3";

/// $1 the session, $2 the tenant, $3 the professional. No row if they are no member.
const IS_MEMBER: &str = "select 1 as one from participants \
    where session_id = $1 and tenant_id = $2 and kind = 'dentist' and person_id = $3";

/// $1 the session, $2 its tenant. It locks the session, so that no professional comes or goes meanwhile.
const OF_SESSION: &str =
    "select status from sessions where id = $1 and tenant_id = $2 {for_no_key_update}";

/// $1 the session, $2 the tenant, $3 the professional, $4 the id of the notes, $5 the same as a text. No row if they are
/// no member any more, or if the session has notes.
const OPEN: &str = "insert into sessions \
    (tenant_id, id, customer_id, dentist_id, created_at, active_at, notes_of) \
    select me.tenant_id, {id:$4}, $5, $5, {now}, {now}, me.session_id from participants me \
    where me.session_id = $1 and me.tenant_id = $2 and me.kind = 'dentist' and me.person_id = $3 \
    on conflict do nothing returning id";

/// $1 the session, $2 its tenant, $3 the id of the notes. Bots and the system have no notes.
const SEAT: &str = "insert into members (tenant_id, session_id, kind, person_id, name, avatar_url) \
    select tenant_id, {id:$3}, kind, person_id, name, avatar_url from participants \
    where session_id = $1 and tenant_id = $2 and kind = 'dentist' \
      and substr(person_id, 1, 4) <> 'bot:' and substr(person_id, 1, 7) <> 'system:' returning kind";

/// The notes in the database.
#[derive(Clone, Debug)]
pub struct NotesTable(pub Database);

impl NotesTable {
    /// Notes of a session that `me` is a member of, as a professional. Notes have themselves.
    pub(crate) async fn find(
        &self,
        me: &Scope,
        id: SessionId,
    ) -> Result<Option<SessionId>, StoreError> {
        if me.side == Side::Contact {
            return Ok(None);
        }
        let rows = self.0.read(Statement::new(FIND, of_member(me, id))).await?;
        rows.first().map(|row| row.get("id").map(SessionId)).transpose()
    }

    /// Finds or makes the notes of a session. Also returns whether they are new. `None` if `me` is no member of it, as a
    /// professional.
    pub(crate) async fn open(
        &self,
        me: &Scope,
        id: SessionId,
    ) -> Result<Option<(SessionId, bool)>, StoreError> {
        // Two tries: another request may make them after the first look.
        for _ in 0..2 {
            if let Some(found) = self.find(me, id).await? {
                return Ok(Some((found, false)));
            }
            if me.side == Side::Contact {
                return Ok(None);
            }
            let notes = new_id();
            let [session, tenant, person] = of_member(me, id);
            let statements = [
                Statement::new(IS_MEMBER, of_member(me, id)),
                Statement::new(OF_SESSION, [session.clone(), tenant.clone()]),
                Statement::new(
                    OPEN,
                    [
                        session.clone(),
                        tenant.clone(),
                        person,
                        notes.into(),
                        notes.to_string().into(),
                    ],
                ),
                Statement::new(SEAT, [session, tenant, notes.into()]),
            ];
            match self.0.write_while_found(statements).await?.len() {
                4 => return Ok(Some((SessionId(notes), true))),
                3 => {}
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn of_member(me: &Scope, id: SessionId) -> [Value; 3] {
    [id.0.into(), me.tenant.number().into(), me.id.as_str().into()]
}
