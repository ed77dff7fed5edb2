//! Opening a session.

use crate::{
    Chat,
    store::{NewSession, sessions::sides},
};
use bus::broadcast::Broadcast;
use model::{
    ids::SessionId,
    person::Person,
    scope::Scope,
    session::{Desk, Member, Session},
};
use platform::new_id;
use protocol::error::Error;

impl Chat {
    /// The open session between `me` and `other`. It is found without the directory, which may be
    /// unavailable.
    pub async fn find_open(&self, me: &Scope, other: &Person) -> Result<Option<Session>, Error> {
        let Some(id) = self.store.open_between(me, &other.id).await? else { return Ok(None) };
        self.store.session(me, id).await?.ok_or(Error::SessionNotFound).map(Some)
    }

    /// Number of open sessions in which `me`, a customer, waits for a first answer, up to `limit`.
    pub async fn unanswered(&self, me: &Scope, limit: u32) -> Result<u32, Error> {
        Ok(self.store.unanswered(me, limit).await?)
    }

    /// Opens a session between `me` and `other`, or finds the open one. Also returns whether it is new.
    pub async fn open(&self, me: &Scope, other: Person) -> Result<(Session, bool), Error> {
        let (contact, agent) = sides(me.side, me.person(), &other);
        // The same look-up, and so the same answer, for people whom `me` may not talk to and for unknown
        // people.
        if !self.people.may_talk(contact, agent).await? {
            return Err(Error::PersonNotFound);
        }
        let mine = self.known(me).await?;
        let theirs = self.known(&other).await?;
        let (contact, agent) = sides(me.side, mine, theirs);
        let new = NewSession { id: SessionId(new_id()), contact, agent };
        let (id, opened) = self.store.open_session(me, &new).await?;
        let session = self.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
        if opened {
            // Each side's inbox receives its own view. Both views of an empty session are alike, but for how the desk
            // handles it, which may have begun.
            let new = Session { desk: Desk::default(), ..session.clone() };
            self.bus.publish(Broadcast::session_new(me.person().clone(), &new));
            self.bus.publish(Broadcast::session_new(other, &new));
        }
        Ok((session, opened))
    }

    pub(crate) async fn known(&self, person: &Person) -> Result<Member, Error> {
        let entry = self.people.look_up(person).await?.ok_or(Error::PersonNotFound)?;
        let (name, avatar_url) = (entry.name.clone(), entry.avatar_url.clone());
        Ok(Member { person: person.clone(), name, avatar_url, email: None })
    }
}
