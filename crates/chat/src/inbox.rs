//! Updates for members of a session, whether or not they have joined: `session:updated` after each change,
//! and in a session `message:updated`.
//!
//! A session is published as the database has it at that moment, so counts are exact. A busy session is
//! published once a second. If a node is killed before it publishes, the next change brings the state, or the
//! list that a client reads when it reconnects.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::store::sessions::Sessions;
use bus::{PubSub, broadcast::Broadcast};
use db::StoreError;
use model::{
    ids::{MessageId, SessionKey},
    message::Message,
    person::{Person, Side},
    session::Session,
};
use platform::{
    tasks::{Stage, Tasks},
    throttle::Throttle,
};

/// Retry delay while the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// The sides that see a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Audience {
    contact: bool,
    desk: bool,
}

impl Audience {
    const ALL: Self = Self { contact: true, desk: true };

    fn of(side: Side) -> Self {
        Self { contact: side == Side::Contact, desk: side == Side::Desk }
    }

    fn and(self, other: Self) -> Self {
        Self { contact: self.contact || other.contact, desk: self.desk || other.desk }
    }

    fn includes(self, member: &Person) -> bool {
        match member.side {
            Side::Contact => self.contact,
            Side::Desk => self.desk,
        }
    }
}

/// Publishes changed sessions to their members, and changed messages.
#[derive(Debug, Default)]
pub struct Inbox {
    changed: Throttle<SessionKey, Audience>,
    amended: Throttle<(SessionKey, MessageId), Message>,
}

impl Inbox {
    /// Starts publishing on this bus.
    pub fn start(tasks: &Tasks, store: Arc<dyn Sessions>, bus: Arc<dyn PubSub>) -> Arc<Self> {
        let inbox = Arc::new(Self::default());
        let updating = Arc::clone(&inbox).keep_updating(Arc::clone(&bus));
        tasks.spawn(Stage::Delivery, "inbox.messages", updating);
        tasks.spawn(Stage::Delivery, "inbox.sessions", Arc::clone(&inbox).keep_telling(store, bus));
        inbox
    }

    /// Queues a session that has changed for one of its members at least.
    pub fn changed(&self, key: SessionKey) {
        self.put(key, Audience::ALL);
    }

    /// Queues a session that has changed for members on this side only: the others receive no update.
    pub fn changed_for(&self, key: SessionKey, side: Side) {
        self.put(key, Audience::of(side));
    }

    fn put(&self, key: SessionKey, audience: Audience) {
        self.changed.put(key, audience, |waiting, more| *waiting = waiting.and(more));
    }

    /// Queues a changed message. A message that changes repeatedly is published once a second.
    pub fn amended(&self, message: &Message) {
        self.changed(message.session());
        let latest = |waiting: &mut Message, message: Message| {
            if message.rev > waiting.rev {
                *waiting = message;
            }
        };
        self.amended.put((message.session(), message.id), message.clone(), latest);
    }

    async fn keep_updating(self: Arc<Self>, bus: Arc<dyn PubSub>) {
        loop {
            for (_, message) in self.amended.take().await {
                bus.publish(Broadcast::message_updated(&message));
            }
        }
    }

    /// Publishes everything that is queued, as the node ends.
    pub async fn flush(&self, store: &dyn Sessions, bus: &dyn PubSub) {
        for (_, message) in self.amended.take_all() {
            bus.publish(Broadcast::message_updated(&message));
        }
        let changed = self.changed.take_all();
        for (member, session) in views(store, &changed).await.unwrap_or_default() {
            bus.publish(Broadcast::session_updated(member, &session));
        }
    }

    async fn keep_telling(self: Arc<Self>, store: Arc<dyn Sessions>, bus: Arc<dyn PubSub>) {
        loop {
            let changed = self.changed.take().await;
            match views(&*store, &changed).await {
                Ok(views) => {
                    for (member, session) in views {
                        bus.publish(Broadcast::session_updated(member, &session));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "session update not sent; retried later");
                    sleep(RETRY).await;
                    for (key, audience) in changed {
                        self.put(key, audience);
                    }
                }
            }
        }
    }
}

/// The changed sessions, as the members of their audiences see them.
async fn views(
    store: &dyn Sessions,
    changed: &[(SessionKey, Audience)],
) -> Result<Vec<(Person, Session)>, StoreError> {
    let audiences: BTreeMap<_, _> = changed.iter().copied().collect();
    let keys: Vec<_> = audiences.keys().copied().collect();
    let mut views = store.views(&keys).await?;
    let sees = |member: &Person, session: &Session| {
        audiences.get(&session.key()).is_some_and(|audience| audience.includes(member))
    };
    views.retain(|(member, session)| sees(member, session));
    Ok(views)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::contract::world::{customer, draft};
    use model::ids::{SessionId, TenantId};
    use platform::new_id;

    #[test]
    fn a_change_for_one_side_is_published_to_the_other_only_if_something_else_has_changed() {
        let inbox = Inbox::default();
        let [desk, contact, both, all] =
            [0; 4].map(|_| TenantId::MAIN.session(SessionId(new_id())));
        inbox.changed_for(desk, Side::Desk);
        inbox.changed_for(desk, Side::Desk);
        inbox.changed_for(contact, Side::Contact);
        inbox.changed_for(both, Side::Desk);
        inbox.changed_for(both, Side::Contact);
        inbox.changed(all);
        inbox.changed_for(all, Side::Desk);
        let taken: BTreeMap<_, _> = inbox.changed.take_all().into_iter().collect();
        let sees = |key, side| {
            let person = Person::new(TenantId::MAIN, side, "7".parse().unwrap());
            taken[key].includes(&person)
        };
        for (key, expected) in [
            (&desk, [false, true]),
            (&contact, [true, false]),
            (&both, [true; 2]),
            (&all, [true; 2]),
        ] {
            assert_eq!([Side::Contact, Side::Desk].map(|side| sees(key, side)), expected);
        }
    }

    #[test]
    fn i15_a_changed_message_does_not_take_the_place_of_its_twin() {
        let (inbox, session_id) = (Inbox::default(), SessionId(new_id()));
        let ours = draft(session_id, &customer(), "ours");
        let mut twin = ours.clone();
        twin.sender.tenant = TenantId::new(2).unwrap();
        for (rev, draft) in [(7, &ours), (8, &ours), (9, &twin)] {
            let message = draft.committed(1, "Ada".into(), Timestamp::now());
            inbox.amended(&Message { rev: Some(rev), ..message });
        }
        let taken = inbox.amended.take_all().into_iter();
        let mut taken: Vec<_> =
            taken.map(|(_, message)| (message.session().tenant, message.rev)).collect();
        taken.sort();
        assert_eq!(taken, [(ours.sender.tenant, Some(8)), (twin.sender.tenant, Some(9))]);
    }
}
