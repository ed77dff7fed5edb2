//! All members of a session, for an administrator.

use super::{
    participants::{ParticipantTable, Seat, takes_part},
    sql,
};
use db::{
    StoreError,
    text::{Row, Statement},
};
use model::{
    ids::{SessionId, TenantId},
    person::Side,
    scope::AdminScope,
    session::{Desk, Member, SessionStatus},
};

/// $1 the session, $2 its tenant.
const OF_SESSION: &str = concat!(
    "select c.status, c.dentist_id, ",
    sql::desk_columns!("c"),
    " from sessions c where c.tenant_id = $2 and c.id = $1 and c.notes_of is null"
);

/// All members of a session, for an administrator.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Whether messages may be sent.
    pub status: SessionStatus,
    /// The customer.
    pub contact: Member,
    /// The professional whose session it is.
    pub agent: Member,
    /// Further professionals.
    pub participants: Vec<Member>,
    /// How the desk handles it.
    pub desk: Desk,
}

impl ParticipantTable {
    /// All members of a session of the admin's tenant.
    pub async fn roster(
        &self,
        admin: &AdminScope,
        id: SessionId,
    ) -> Result<Option<Roster>, StoreError> {
        let tenant = admin.tenant;
        let rows =
            self.0.read(Statement::new(OF_SESSION, [id.0.into(), tenant.number().into()])).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (status, agent_id): (_, String) = (row.parsed("status")?, row.get("dentist_id")?);
        let mut contact = None;
        let mut agent = None;
        let mut participants = Vec::new();
        let seats = self.seats([tenant.session(id)]).await?;
        for Seat { member, .. } in seats.into_iter().filter(|seat| !seat.has_left) {
            match member.person.side {
                Side::Contact => contact = Some(member),
                Side::Desk if member.person.id.as_str() == agent_id => {
                    agent = Some(member);
                }
                Side::Desk => participants.push(member),
            }
        }
        let (Some(contact), Some(agent)) = (contact, agent) else {
            return Err(StoreError::no_row());
        };
        let mut desk = desk(row, tenant)?;
        desk.assignee.take_if(|assignee| !takes_part(&participants, assignee));
        Ok(Some(Roster { status, contact, agent, participants, desk }))
    }
}

fn desk(row: &Row, tenant: TenantId) -> Result<Desk, StoreError> {
    let text = |column| row.get::<Option<String>>(column);
    let inbox: String = row.get("inbox")?;
    let (waiting, assignee) = (text("waiting")?, text("assignee_id")?);
    let until = row.get("snoozed_until")?;
    Ok(sql::desk(tenant, &inbox, waiting.as_deref(), until, assignee.as_deref()))
}
