//! Typing state of a client. It is published at once and every few seconds while typing continues, and
//! withdrawn when the client falls silent, sends, leaves or disconnects.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use model::ids::SessionId;

/// Time after which typing ends without a new event.
const SPELL: Duration = Duration::from_secs(6);
/// Interval of publishing ongoing typing, for people who have just joined.
const AGAIN: Duration = Duration::from_secs(3);
/// Minimum time between two starts that are published.
const START_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Spell {
    active: bool,
    told: Instant,
    until: Instant,
}

/// Sessions in which a connection's client types.
#[derive(Debug, Default)]
pub(crate) struct Typing(Mutex<HashMap<SessionId, Spell>>);

impl Typing {
    fn spells(&self) -> MutexGuard<'_, HashMap<SessionId, Spell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the client types. Returns whether to publish it.
    pub(crate) fn start(&self, id: SessionId, now: Instant) -> bool {
        let mut spells = self.spells();
        let until = now + SPELL;
        let Some(spell) = spells.get_mut(&id) else {
            spells.insert(id, Spell { active: true, told: now, until });
            return true;
        };
        let due = now >= spell.told + if spell.active { AGAIN } else { START_INTERVAL };
        if spell.active || due {
            spell.until = until;
        }
        if due {
            (spell.active, spell.told) = (true, now);
        }
        due
    }

    /// Records that the client has stopped. Returns whether to publish it.
    pub(crate) fn stop(&self, id: SessionId) -> bool {
        let mut spells = self.spells();
        spells.get_mut(&id).is_some_and(|spell| std::mem::take(&mut spell.active))
    }

    /// Sessions in which typing has expired, and the next time to check.
    pub(crate) fn expired(&self, now: Instant) -> (Vec<SessionId>, Option<Instant>) {
        let mut spells = self.spells();
        let silent = spells.iter().filter(|(_, spell)| spell.active && now >= spell.until);
        let silent = silent.map(|(id, _)| *id).collect();
        spells.retain(|_, spell| now < spell.until);
        (silent, spells.values().map(|spell| spell.until).min())
    }

    /// Ends all typing with the connection. Returns the affected sessions.
    pub(crate) fn end(&self) -> Vec<SessionId> {
        self.spells().drain().filter(|(_, spell)| spell.active).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::new_id;

    #[test]
    fn b50_typing_is_told_seldom_and_ends_by_itself() {
        let (typing, id, now) = (Typing::default(), SessionId(new_id()), Instant::now());
        let at = |millis| now + Duration::from_millis(millis);
        assert!(
            typing.start(id, now) && !typing.start(id, at(2_999)) && typing.start(id, at(3_000))
        );
        assert_eq!(typing.expired(at(8_999)), (vec![], Some(at(9_000))));
        assert_eq!(typing.expired(at(9_000)), (vec![id], None));
        assert!(!typing.stop(id), "it is taken back once");
        // A flickering client is published at most once a second.
        assert!(typing.start(id, at(20_000)) && typing.stop(id));
        let told = (0..100).filter(|n| typing.start(id, at(20_000 + n * 9)) | typing.stop(id));
        assert_eq!(told.count(), 0);
        assert!(typing.start(id, at(21_000)));
        assert_eq!(typing.end(), [id]);
    }
}
