//! Where a client is typing. Said to others at once, again every few seconds while it goes on, and taken
//! back when its client falls silent, sends, leaves or drops.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::session::SessionId;

/// How long a client types without saying so again.
const SPELL: Duration = Duration::from_secs(6);
/// How often others are told while it goes on: some have just come.
const AGAIN: Duration = Duration::from_secs(3);
/// How soon a client can begin again, however often it says so.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Spell {
    active: bool,
    told: Instant,
    until: Instant,
}

/// The sessions in which one connection's client types.
#[derive(Debug, Default)]
pub(crate) struct Typing(Mutex<HashMap<SessionId, Spell>>);

impl Typing {
    fn spells(&self) -> MutexGuard<'_, HashMap<SessionId, Spell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client says that it types; whether others are to be told.
    pub(crate) fn start(&self, id: SessionId, now: Instant) -> bool {
        let mut spells = self.spells();
        let until = now + SPELL;
        let Some(spell) = spells.get_mut(&id) else {
            spells.insert(id, Spell { active: true, told: now, until });
            return true;
        };
        let due = now >= spell.told + if spell.active { AGAIN } else { REST };
        if spell.active || due {
            spell.until = until;
        }
        if due {
            (spell.active, spell.told) = (true, now);
        }
        due
    }

    /// It types no more; whether others are to be told.
    pub(crate) fn stop(&self, id: SessionId) -> bool {
        let mut spells = self.spells();
        spells.get_mut(&id).is_some_and(|spell| std::mem::take(&mut spell.active))
    }

    /// Where it has fallen silent, and when to look again.
    pub(crate) fn expired(&self, now: Instant) -> (Vec<SessionId>, Option<Instant>) {
        let mut spells = self.spells();
        let silent = spells.iter().filter(|(_, spell)| spell.active && now >= spell.until);
        let silent = silent.map(|(id, _)| *id).collect();
        spells.retain(|_, spell| now < spell.until);
        (silent, spells.values().map(|spell| spell.until).min())
    }

    /// Where it types, now that the connection ends.
    pub(crate) fn end(&self) -> Vec<SessionId> {
        self.spells().drain().filter(|(_, spell)| spell.active).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::new_id;

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
        // A client that flickers is told of once a second.
        assert!(typing.start(id, at(20_000)) && typing.stop(id));
        let told = (0..100).filter(|n| typing.start(id, at(20_000 + n * 9)) | typing.stop(id));
        assert_eq!(told.count(), 0);
        assert!(typing.start(id, at(21_000)));
        assert_eq!(typing.end(), [id]);
    }
}
