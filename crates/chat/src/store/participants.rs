//! Professionals and bots who take part in a session beside its dentist, and who its dentist is.
//!
//! Most sessions have none. Those that have are marked as shared, and only for them a second query reads the
//! members. The same professionals are the members of a session's notes ([`super::notes`]): triggers see to that.

use std::{collections::BTreeSet, time::Duration};

use db::{
    Database, StoreError,
    text::{Row, Statement, Value},
};
use identity::{
    audit::{self, Act, Actor, NewEntry},
    rows::tenant,
};
use model::{
    ids::{SessionId, SessionKey},
    person::Person,
    profile::AvatarUrl,
    session::{Member, Session},
};
use platform::new_id;

/// Maximum number of members of a session.
pub const MEMBERS_MAX: usize = 20;

/// $1 sessions, each its id and then the number of its tenant. Former members too: the customer's marks never go back.
const MEMBERS: &str = "select m.session_id, cast(m.tenant_id as bigint) as tenant, m.kind, m.person_id, \
    m.name, m.avatar_url, m.read_seq, m.delivered_seq, m.left_at is not null as has_left \
    from {each:$1} join members m on m.tenant_id = cast(substr(each.value, 37) as integer) \
      and m.session_id = {id:substr(each.value, 1, 36)} \
    order by m.tenant_id, m.session_id, m.kind, m.person_id";

/// No row while nodes of an earlier version may run: they would show a shared session twice.
const UPGRADED: &str = "select 1 as upgraded from tenant_changes where allowed";

/// $1 the session, $2 its tenant. It locks the session. Notes have the members of their session.
const OF_SESSION: &str = "select status from sessions \
    where tenant_id = $2 and id = $1 and notes_of is null {for_no_key_update}";

/// $1 the session, $2 its tenant, $3 the maximum, $4 the professional. No row if it is reached without them.
const HAS_ROOM: &str = "select 1 as room from sessions s where s.tenant_id = $2 and s.id = $1 \
    and ((select count(*) from participants where tenant_id = $2 and session_id = $1) < $3 \
      or exists (select 1 from participants where tenant_id = $2 and session_id = $1 and kind = 'dentist' and person_id = $4))";

/// $1 the session, $2 its tenant, $3 the professional, $4 their name, $5 their avatar, $6 whether they get no pushes. They
/// begin where the dentist is, so that what waits for an answer is unread; a returning member where they left. No row if
/// they are a member.
const ADD: &str = "insert into members \
    (tenant_id, session_id, kind, person_id, name, avatar_url, muted, read_seq, delivered_seq) \
    select cast($2 as integer), s.id, 'dentist', $3, $4, $5, $6, d.read_seq, d.read_seq from sessions s \
    join members d on d.tenant_id = s.tenant_id and d.session_id = s.id and d.kind = 'dentist' and d.person_id = s.dentist_id \
    where s.tenant_id = $2 and s.id = $1 \
    {conflict:members_pkey} do update set left_at = null, muted = excluded.muted, \
      name = excluded.name, avatar_url = excluded.avatar_url where members.left_at is not null returning kind";

/// The same, with a row in any case: a member who takes over has pushes.
const TAKE_OVER: &str = "insert into members \
    (tenant_id, session_id, kind, person_id, name, avatar_url, muted, read_seq, delivered_seq) \
    select cast($2 as integer), s.id, 'dentist', $3, $4, $5, $6, d.read_seq, d.read_seq from sessions s \
    join members d on d.tenant_id = s.tenant_id and d.session_id = s.id and d.kind = 'dentist' and d.person_id = s.dentist_id \
    where s.tenant_id = $2 and s.id = $1 \
    {conflict:members_pkey} do update set left_at = null, muted = excluded.muted \
    returning kind";

/// $1 the session, $2 its tenant.
const SHARE: &str = "update sessions set shared = true, rev = rev + 1 \
    where tenant_id = $2 and id = $1 returning status";

/// $1 the session, $2 its tenant, $3 who has left.
const RELEASE: &str = "update sessions set shared = true, rev = rev + 1, assignee_id = nullif(assignee_id, $3) \
    where tenant_id = $2 and id = $1 returning status";

/// $1 the session, $2 its tenant, $3 the professional. No row if they are its dentist.
const IS_ANOTHERS: &str = "select 1 as anothers from sessions \
    where tenant_id = $2 and id = $1 and dentist_id <> $3";

/// $1 the session, $2 its tenant, $3 the professional. No row if they have another open session with the customer.
const IS_FREE: &str = "select 1 as free from sessions s where s.tenant_id = $2 and s.id = $1 \
    and (s.status <> 'open' or (select 1 from sessions o where o.tenant_id = s.tenant_id \
      and o.customer_id = s.customer_id and o.dentist_id = $3 and o.status = 'open' limit 1) is null)";

/// $1 the session, $2 its tenant. A dentist who hands over gets no pushes for it any more.
const MUTE_AGENT: &str = "update members set muted = true \
    where tenant_id = $2 and session_id = $1 and kind = 'dentist' \
      and person_id = (select dentist_id from sessions where tenant_id = $2 and id = $1) returning kind";

/// $1 the session, $2 its tenant, $3 the professional. The row stays: it names the sender of their messages. No row if
/// they are no member.
const REMOVE: &str = "update members set left_at = {now} where tenant_id = $2 and session_id = $1 \
    and kind = 'dentist' and person_id = $3 and left_at is null returning kind";

/// $1 the session, $2 its tenant, $3 the professional.
const HAND_OVER: &str = "update sessions set dentist_id = $3, assignee_id = null, shared = true, rev = rev + 1 \
    where tenant_id = $2 and id = $1 returning status";

/// $1 the session, $2 its tenant, $3 the professional, $4 id of the job, $5 its delay in milliseconds. A push for what
/// waits for them already; messages to come bring their own. No row if nothing is unread. The parts of the payload
/// need no escapes. Its braces are no token of the dialect, so no token may stand between them.
const PUSH: &str = "insert into jobs \
    (tenant_id, id, queue, kind, key, subject, payload, run_at, created_at) \
    select m.tenant_id, {id:$4}, 'pushes', 'message', \
      cast(m.session_id as text) || ':' || m.kind || ':' || m.person_id, m.kind || ':' || m.person_id, \
      '{\"sessionId\":\"' || cast(m.session_id as text) || '\",\"kind\":\"' || m.kind || '\",\"personId\":\"' \
        || m.person_id || '\",\"seq\":' || cast(m.read_seq + 1 as text) || '}', {in_ms:$5}, {now} \
    from participants m join sessions s on s.tenant_id = m.tenant_id and s.id = m.session_id \
    where m.tenant_id = $2 and m.session_id = $1 and m.kind = 'dentist' and m.person_id = $3 \
      and not m.muted and m.read_seq < s.last_seq and s.status = 'open' \
    on conflict (tenant_id, queue, key) where state = 'waiting' do nothing returning id";

/// Outcome of a change of a session's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// It is as wanted now.
    Done,
    /// It was so before.
    Unchanged,
    /// Nodes of an earlier version may run.
    TooEarly,
    /// The admin's tenant has no such session, or the professional is another tenant's.
    NotFound,
    /// The session has [`MEMBERS_MAX`] members.
    Full,
    /// The professional has another open session with this customer.
    AnotherIsOpen,
    /// It is the professional's session.
    IsTheirs,
}

/// A member and how far they are.
pub(super) struct Seat {
    session: SessionKey,
    pub(super) member: Member,
    read_seq: u64,
    delivered_seq: u64,
    pub(super) has_left: bool,
}

/// The members of sessions in the database.
#[derive(Clone, Debug)]
pub struct ParticipantTable(pub Database);

impl ParticipantTable {
    /// Adds the further members to those of these sessions that are shared, each as its person sees it.
    pub(crate) async fn complete<'a>(
        &self,
        views: impl Iterator<Item = (&'a Person, &'a mut Session)>,
    ) -> Result<(), StoreError> {
        let views: Vec<_> = views.filter(|(_, session)| session.shared).collect();
        if views.is_empty() {
            return Ok(());
        }
        let keys: BTreeSet<_> = views.iter().map(|(_, session)| with_contact(session)).collect();
        let seats = self.seats(keys).await?;
        for (me, session) in views {
            let key = with_contact(session);
            seat(session, me, seats.iter().filter(|seat| seat.session == key));
        }
        Ok(())
    }

    /// Members of these sessions, former ones too.
    pub(super) async fn seats(
        &self,
        keys: impl IntoIterator<Item = SessionKey>,
    ) -> Result<Vec<Seat>, StoreError> {
        let name = |key: SessionKey| format!("{}{}", key.id.0, key.tenant.number());
        let keys: Vec<String> = keys.into_iter().map(name).collect();
        let rows = self.0.read(Statement::new(MEMBERS, [keys.into()])).await?;
        rows.iter().map(read).collect()
    }

    /// Lets a professional take part in a session, and records it in the audit log.
    pub async fn add(
        &self,
        by: &Actor,
        id: SessionId,
        professional: &Member,
        push_delay: Option<Duration>,
    ) -> Result<Shared, StoreError> {
        if professional.person.tenant != by.scope.tenant {
            return Ok(Shared::NotFound);
        }
        let [of_session, tenant] = places(by, id);
        let mut statements = vec![
            Statement::new(UPGRADED, []),
            Statement::new(OF_SESSION, [of_session.clone(), tenant.clone()]),
            has_room(by, id, professional),
            seated(ADD, by, id, professional),
            Statement::new(SHARE, [of_session, tenant]),
            note(by, Act::AddParticipant, id, professional),
        ];
        statements.extend(push_delay.map(|delay| push(by, id, professional, delay)));
        let rows = self.0.write_while_found(statements).await?;
        // The first statement without a row is the last one that ran.
        Ok(match rows.len() {
            1 => Shared::TooEarly,
            2 => Shared::NotFound,
            3 => Shared::Full,
            4 => Shared::Unchanged,
            _ => Shared::Done,
        })
    }

    /// Makes a professional the session's dentist, and records it in the audit log. The dentist before stays a
    /// participant, without pushes.
    pub async fn transfer(
        &self,
        by: &Actor,
        id: SessionId,
        to: &Member,
        push_delay: Option<Duration>,
    ) -> Result<Shared, StoreError> {
        if to.person.tenant != by.scope.tenant {
            return Ok(Shared::NotFound);
        }
        let [of_session, tenant] = places(by, id);
        let person = || to.person.id.as_str().into();
        let mut statements = vec![
            Statement::new(UPGRADED, []),
            Statement::new(OF_SESSION, [of_session.clone(), tenant.clone()]),
            Statement::new(IS_ANOTHERS, [of_session.clone(), tenant.clone(), person()]),
            Statement::new(IS_FREE, [of_session.clone(), tenant.clone(), person()]),
            has_room(by, id, to),
            seated(TAKE_OVER, by, id, to),
            Statement::new(MUTE_AGENT, [of_session.clone(), tenant.clone()]),
            Statement::new(HAND_OVER, [of_session, tenant, person()]),
            note(by, Act::TransferSession, id, to),
        ];
        statements.extend(push_delay.map(|delay| push(by, id, to, delay)));
        let rows = self.0.write_while_found(statements).await?;
        Ok(match rows.len() {
            1 => Shared::TooEarly,
            2 => Shared::NotFound,
            3 => Shared::Unchanged,
            4 => Shared::AnotherIsOpen,
            5 => Shared::Full,
            _ => Shared::Done,
        })
    }

    /// Ends a professional's part in a session, and records it in the audit log. Their messages stay.
    pub async fn remove(
        &self,
        by: &Actor,
        id: SessionId,
        professional: &Person,
    ) -> Result<Shared, StoreError> {
        if professional.tenant != by.scope.tenant {
            return Ok(Shared::NotFound);
        }
        let of_session = places(by, id);
        let [session, tenant] = of_session.clone();
        let of_person = [session, tenant, professional.id.as_str().into()];
        let statements = [
            Statement::new(UPGRADED, []),
            Statement::new(OF_SESSION, of_session),
            Statement::new(IS_ANOTHERS, of_person.clone()),
            Statement::new(REMOVE, of_person.clone()),
            Statement::new(RELEASE, of_person),
            audit::table::note(&NewEntry::of_member(
                by,
                Act::RemoveParticipant,
                id,
                professional.name(),
            )),
        ];
        let rows = self.0.write_while_found(statements).await?;
        Ok(match rows.len() {
            1 => Shared::TooEarly,
            2 => Shared::NotFound,
            3 => Shared::IsTheirs,
            4 => Shared::Unchanged,
            _ => Shared::Done,
        })
    }

    /// Everyone who takes part in a session.
    pub(crate) async fn members(&self, key: SessionKey) -> Result<Vec<Person>, StoreError> {
        let seats = self.seats([key]).await?.into_iter();
        Ok(seats.filter(|seat| !seat.has_left).map(|seat| seat.member.person).collect())
    }
}

/// The session whose members a view shows: of notes, the one to which they belong.
fn with_contact(session: &Session) -> SessionKey {
    session.key().tenant.session(session.notes_of.unwrap_or(session.id))
}

/// The session and the admin's tenant, as parameters.
fn places(by: &Actor, id: SessionId) -> [Value; 2] {
    [id.0.into(), by.scope.tenant.number().into()]
}

fn has_room(by: &Actor, id: SessionId, professional: &Member) -> Statement {
    let [of_session, tenant] = places(by, id);
    let person = professional.person.id.as_str().into();
    Statement::new(HAS_ROOM, [of_session, tenant, (MEMBERS_MAX as u64).into(), person])
}

fn push(by: &Actor, id: SessionId, professional: &Member, delay: Duration) -> Statement {
    let [of_session, tenant] = places(by, id);
    let person = professional.person.id.as_str().into();
    let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    Statement::new(PUSH, [of_session, tenant, person, new_id().into(), delay.into()])
}

fn seated(sql: &'static str, by: &Actor, id: SessionId, professional: &Member) -> Statement {
    let [of_session, tenant] = places(by, id);
    let person = professional.person.id.as_str().into();
    let (name, avatar) = (professional.name.as_str().into(), professional.avatar_url().into());
    // A bot has no device.
    let muted = (!professional.person.actor().is_human()).into();
    Statement::new(sql, [of_session, tenant, person, name, avatar, muted])
}

fn note(by: &Actor, act: Act, id: SessionId, professional: &Member) -> Statement {
    audit::table::note(&NewEntry::of_member(by, act, id, professional.person.name()))
}

fn read(row: &Row) -> Result<Seat, StoreError> {
    let (tenant, avatar) = (tenant(row)?, row.get::<Option<String>>("avatar_url")?);
    Ok(Seat {
        session: tenant.session(SessionId(row.get("session_id")?)),
        member: Member {
            person: Person::new(tenant, row.parsed("kind")?, row.parsed("person_id")?),
            name: row.get("name")?,
            avatar_url: avatar.and_then(|url| url.parse::<AvatarUrl>().ok()),
            email: None,
        },
        read_seq: row.count("read_seq")?,
        delivered_seq: row.count("delivered_seq")?,
        has_left: row.get("has_left")?,
    })
}

/// Puts the members of a session into it, as `me` sees it. The marks of the other side are those of its furthest
/// member, former ones among them.
fn seat<'a>(session: &mut Session, me: &Person, seats: impl Iterator<Item = &'a Seat>) {
    for Seat { member, read_seq, delivered_seq, has_left, .. } in seats {
        if member.person.side != me.side && session.notes_of.is_none() {
            session.other_read_seq = session.other_read_seq.max(*read_seq);
            session.other_delivered_seq = session.other_delivered_seq.max(*delivered_seq);
        }
        if *has_left {
            continue;
        }
        if member.person == session.agent.person {
            session.agent = member.clone();
        } else if member.person != session.contact.person {
            session.participants.push(member.clone());
        }
    }
    let Session { desk, participants, .. } = session;
    desk.assignee.take_if(|assignee| !takes_part(participants, assignee));
}

pub(super) fn takes_part(participants: &[Member], person: &Person) -> bool {
    participants.iter().any(|member| member.person == *person)
}
