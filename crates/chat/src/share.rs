//! A session is shared: another professional takes part, or takes over.

use crate::{
    Chat,
    store::{participants::Shared, roster::Roster},
};
use bus::broadcast::Broadcast;
use identity::audit::Actor;
use model::{ids::SessionId, person::Person, session::Member};
use protocol::error::Error;

impl Chat {
    /// Lets a professional take part in a session, with its whole history. Every member is told. Also returns whether
    /// they were no member before.
    pub async fn add_participant(
        &self,
        id: SessionId,
        professional: &Person,
        by: &Actor,
    ) -> Result<(Roster, bool), Error> {
        let member = self.colleague(professional).await?;
        let shared = self.participants.add(id, &member, by, self.store.job_delay()).await?;
        self.shared(id, professional, by, shared).await
    }

    /// Makes a professional the dentist of a session. The dentist before stays a participant, without pushes. Every
    /// member is told.
    pub async fn transfer(
        &self,
        id: SessionId,
        to: &Person,
        by: &Actor,
    ) -> Result<(Roster, bool), Error> {
        let member = self.colleague(to).await?;
        let shared = self.participants.transfer(id, &member, by, self.store.job_delay()).await?;
        self.shared(id, to, by, shared).await
    }

    /// Ends a professional's part in a session. They can't find it any more, and the head check closes their connections
    /// in its room ([`crate::hub`]). Every other member is told.
    pub async fn remove_participant(
        &self,
        id: SessionId,
        professional: &Person,
        by: &Actor,
    ) -> Result<bool, Error> {
        let removed = self.participants.remove(id, professional, by).await?;
        self.outcome(id, by, removed)?;
        Ok(removed == Shared::Done)
    }

    /// A professional who may be let into a session: known, and not blocked.
    async fn colleague(&self, person: &Person) -> Result<Member, Error> {
        if self.admission.blocks.is_blocked(person) {
            return Err(Error::invalid("dentistId", "names someone who is blocked"));
        }
        self.known(person).await
    }

    async fn shared(
        &self,
        id: SessionId,
        professional: &Person,
        by: &Actor,
        shared: Shared,
    ) -> Result<(Roster, bool), Error> {
        self.outcome(id, by, shared)?;
        if shared == Shared::Done {
            if let Some(delay) = self.store.job_delay() {
                self.due.written(delay);
            }
            // If it can't be read now, `session:updated` brings the session.
            if let Ok(Some(session)) = self.store.session(professional, id).await {
                self.bus.publish(Broadcast::session_new(professional.clone(), &session));
            }
        }
        let roster = self.participants.roster(by.person.tenant, id).await?;
        Ok((roster.ok_or(Error::SessionNotFound)?, shared == Shared::Done))
    }

    fn outcome(&self, id: SessionId, by: &Actor, shared: Shared) -> Result<(), Error> {
        match shared {
            // A repeat tells the members too: the first request may have ended before it told them.
            Shared::Done | Shared::Unchanged => self.inbox.changed(by.person.session(id)),
            Shared::TooEarly => return Err(Error::UpgradeUnfinished),
            Shared::NotFound => return Err(Error::SessionNotFound),
            Shared::Full => return Err(Error::LimitReached("a session has at most 20 members")),
            Shared::AnotherIsOpen => return Err(Error::AnotherIsOpen),
            Shared::IsTheDentist => return Err(Error::SessionIsTheirs),
        }
        Ok(())
    }
}
