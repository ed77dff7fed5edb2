//! Changes of a message after it was sent: permitted changes, by whom, and for how long.

use std::time::Duration;

use jiff::Timestamp;

use super::{Body, Emoji, Message, MessageKind, Reaction};
use crate::person::Person;

/// Time limit to edit or delete a message, from when it was sent.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum number of edits of a message.
const EDITS_MAX: u32 = 20;
/// Maximum number of emoji of one person on a message.
const REACTIONS_MAX: usize = 10;

/// A requested change.
#[derive(Clone, Debug)]
pub enum Amendment {
    /// A new text.
    Edit(Body),
    /// Leaves a tombstone.
    Delete,
    /// A reaction is added or removed.
    React {
        /// The emoji.
        emoji: Emoji,
        /// Whether it is added.
        on: bool,
    },
}

/// Reason why a message is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unamendable {
    /// The session or the message does not exist, or the caller is no member.
    NotFound,
    /// The session is closed.
    SessionClosed,
    /// Another person sent it.
    NotItsSender,
    /// It is deleted.
    Deleted,
    /// It is older than 24 hours.
    TooOld,
    /// It has reached its limit of changes.
    TooOften,
}

/// A message after a change.
#[derive(Clone, Debug)]
pub struct Amended {
    /// The message after the change.
    pub message: Message,
    /// False if the message was like that already.
    pub changed: bool,
}

impl Message {
    /// Changes a message that has been edited `edits` times. Returns whether it is different now.
    pub fn amend(
        &mut self,
        by: &Person,
        amendment: &Amendment,
        edits: u32,
        now: Timestamp,
    ) -> Result<bool, Unamendable> {
        if let Amendment::React { emoji, on } = amendment {
            return self.react(by, emoji, *on);
        }
        if self.sender.person != *by {
            return Err(Unamendable::NotItsSender);
        }
        match amendment {
            Amendment::Delete if self.deleted_at.is_some() => return Ok(false),
            Amendment::Edit(_) if self.deleted_at.is_some() => return Err(Unamendable::Deleted),
            Amendment::Edit(body) if self.body.as_ref() == Some(body) => return Ok(false),
            _ => {}
        }
        if now.duration_since(self.created_at).unsigned_abs() > AGE_MAX {
            return Err(Unamendable::TooOld);
        }
        if let Amendment::Edit(body) = amendment {
            if edits >= EDITS_MAX {
                return Err(Unamendable::TooOften);
            }
            self.body = Some(body.clone());
            self.edited_at = Some(now);
        } else {
            self.body = None;
            self.image = None;
            self.kind = MessageKind::Text;
            self.reactions.clear();
            self.deleted_at = Some(now);
        }
        Ok(true)
    }

    fn react(&mut self, by: &Person, emoji: &Emoji, on: bool) -> Result<bool, Unamendable> {
        if self.deleted_at.is_some() {
            return Err(Unamendable::Deleted);
        }
        let mine = self.reactions.iter().filter(|reaction| reaction.by.contains(by)).count();
        let found = self.reactions.iter().position(|reaction| reaction.emoji == *emoji);
        let there = found.and_then(|at| self.reactions.get_mut(at));
        match (there, on) {
            (Some(reaction), true) if reaction.by.contains(by) => return Ok(false),
            (_, true) if mine >= REACTIONS_MAX => return Err(Unamendable::TooOften),
            (Some(reaction), true) => reaction.by.push(by.clone()),
            (None, true) => {
                self.reactions.push(Reaction { emoji: emoji.clone(), by: vec![by.clone()] });
            }
            (Some(reaction), false) if reaction.by.contains(by) => {
                reaction.by.retain(|person| person != by);
            }
            (_, false) => return Ok(false),
        }
        self.reactions.retain(|reaction| !reaction.by.is_empty());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TenantId;
    use crate::{
        ids::SessionId,
        person::{Profile, Side},
    };

    fn message() -> Message {
        let sender = Person::new(TenantId::MAIN, Side::Contact, "ada".parse().unwrap());
        Message {
            id: uuid::Uuid::now_v7(),
            session_id: SessionId(uuid::Uuid::now_v7()),
            seq: 1,
            client_id: "k".parse().unwrap(),
            sender: Profile { person: sender, name: "Ada".into() },
            kind: MessageKind::Text,
            body: Some(body("first")),
            image: None,
            reply_to: None,
            reactions: Vec::new(),
            created_at: Timestamp::from_second(1_800_000_000).unwrap(),
            edited_at: None,
            deleted_at: None,
            rev: None,
        }
    }

    fn body(text: &str) -> Body {
        text.to_owned().try_into().unwrap()
    }

    fn hours(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3_600).unwrap()
    }

    #[test]
    fn a_sender_edits_for_a_day_and_not_for_ever() {
        let mut message = message();
        let ada = message.sender.person.clone();
        let other = Person::new(TenantId::MAIN, Side::Desk, "ada".parse().unwrap());
        let edit = Amendment::Edit(body("second"));
        assert_eq!(message.amend(&other, &edit, 0, hours(1)), Err(Unamendable::NotItsSender));
        assert_eq!(message.amend(&ada, &edit, 0, hours(25)), Err(Unamendable::TooOld));
        assert_eq!(message.amend(&ada, &edit, EDITS_MAX, hours(1)), Err(Unamendable::TooOften));
        assert_eq!(message.amend(&ada, &edit, 19, hours(1)), Ok(true));
        // A retry is no second edit, however late it comes.
        assert_eq!(message.amend(&ada, &edit, 20, hours(30)), Ok(false));
        assert_eq!(message.edited_at, Some(hours(1)));
        assert_eq!(message.amend(&ada, &Amendment::Delete, 20, hours(2)), Ok(true));
        assert_eq!(message.amend(&ada, &Amendment::Delete, 20, hours(99)), Ok(false));
        assert_eq!(message.amend(&ada, &edit, 0, hours(2)), Err(Unamendable::Deleted));
        assert!(message.body.is_none());
    }

    #[test]
    fn reactions_are_a_persons_own_and_bounded() {
        let mut message = message();
        let ada = message.sender.person.clone();
        let dana = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        let mut react = |who: &Person, emoji: &str, on| {
            let amendment = Amendment::React { emoji: emoji.parse().unwrap(), on };
            message.amend(who, &amendment, 0, hours(999))
        };
        assert_eq!((react(&ada, "👍", true), react(&dana, "👍", true)), (Ok(true), Ok(true)));
        assert_eq!((react(&ada, "👍", true), react(&ada, "🎉", false)), (Ok(false), Ok(false)));
        assert_eq!(react(&ada, "👍", false), Ok(true));
        for emoji in ["❤️", "😀", "😃", "😄", "😁", "😆", "😅", "🤣", "😂", "🙂"]
        {
            assert_eq!(react(&ada, emoji, true), Ok(true));
        }
        assert_eq!(react(&ada, "👍", true), Err(Unamendable::TooOften));
        assert_eq!(message.reactions.first().unwrap().by, [dana]);
        for none in ["", "a", "👍👍", "<b>", "1", "👍 "] {
            assert!(none.parse::<Emoji>().is_err(), "{none}");
        }
    }
}
