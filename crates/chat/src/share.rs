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
        by: &Actor,
        id: SessionId,
        professional: &Person,
    ) -> Result<(Roster, bool), Error> {
        let member = self.colleague(professional).await?;
        let shared = self.participants.add(by, id, &member, self.store.job_delay()).await?;
        self.shared(by, id, professional, shared).await
    }

    /// Makes a professional the dentist of a session. The dentist before stays a participant, without pushes. Every
    /// member is told.
    pub async fn transfer(
        &self,
        by: &Actor,
        id: SessionId,
        to: &Person,
    ) -> Result<(Roster, bool), Error> {
        let member = self.colleague(to).await?;
        let shared = self.participants.transfer(by, id, &member, self.store.job_delay()).await?;
        self.shared(by, id, to, shared).await
    }

    /// Ends a professional's part in a session. They can't find it any more, and the head check closes their connections
    /// in its room ([`crate::hub`]). Every other member is told.
    pub async fn remove_participant(
        &self,
        by: &Actor,
        id: SessionId,
        professional: &Person,
    ) -> Result<bool, Error> {
        let removed = self.participants.remove(by, id, professional).await?;
        self.outcome(by, id, removed)?;
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
        by: &Actor,
        id: SessionId,
        professional: &Person,
        shared: Shared,
    ) -> Result<(Roster, bool), Error> {
        self.outcome(by, id, shared)?;
        if shared == Shared::Done {
            if let Some(delay) = self.store.job_delay() {
                self.due.written(delay);
            }
            // If it can't be read now, `session:updated` brings the session.
            // `views` needs no scope: the admin is no member, and the professional has sent no token.
            let views = self.store.views(&[by.scope.session(id)]).await.unwrap_or_default();
            if let Some((_, session)) = views.iter().find(|(member, _)| member == professional) {
                self.bus.publish(Broadcast::session_new(professional.clone(), session));
            }
        }
        let roster = self.participants.roster(&by.scope, id).await?;
        Ok((roster.ok_or(Error::SessionNotFound)?, shared == Shared::Done))
    }

    fn outcome(&self, by: &Actor, id: SessionId, shared: Shared) -> Result<(), Error> {
        match shared {
            // A repeat tells the members too: the first request may have ended before it told them.
            Shared::Done | Shared::Unchanged => self.inbox.changed(by.scope.session(id)),
            Shared::TooEarly => return Err(Error::UpgradeUnfinished),
            Shared::NotFound => return Err(Error::SessionNotFound),
            Shared::Full => return Err(Error::LimitReached("a session has at most 20 members")),
            Shared::AnotherIsOpen => return Err(Error::AnotherIsOpen),
            Shared::IsTheirs => return Err(Error::SessionIsTheirs),
        }
        Ok(())
    }
}
