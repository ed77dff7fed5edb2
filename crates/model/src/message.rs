//! A message, its draft, and its parts.

pub mod amend;

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    ids::{MessageId, SessionId, SessionKey},
    person::{Person, Profile},
};

/// Maximum length of a body, in Unicode scalar values. The database enforces it too.
pub const BODY_MAX_CHARS: usize = 8_000;

/// The client's own key of one send, which makes a retry safe: 1 to 64 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[!-~]{1,64}$", examples("01JD2Y8W-3"))]
pub struct ClientId(Arc<str>);

/// Error for a text that is no `clientId`.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 64 visible ASCII characters")]
pub struct InvalidClientId;

impl ClientId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidClientId)
        }
    }
}

impl TryFrom<String> for ClientId {
    type Error = InvalidClientId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Text of a message: not empty, not only blanks, no NUL, at most 8,000 characters.
///
/// Everything else is stored as it is. Clients must show it as plain text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    min_length = 1,
    max_length = 8000,
    pattern = r"^[^\u0000]*[^\s\u0000][^\u0000]*$",
    examples("Does it hurt when you bite?")
)]
pub struct Body(String);

/// Error for a text that is no message body.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidBody {
    /// It has no visible character.
    #[error("must not be empty or only blanks")]
    Blank,
    /// It is over the limit.
    #[error("must have at most 8,000 characters")]
    TooLong,
    /// It has a NUL character.
    #[error("must not hold the NUL character")]
    Nul,
}

impl Body {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Maximum number of bytes in JSON.
    pub fn json_len(&self) -> usize {
        let escaped = |byte: u8| match byte {
            ..=0x1f => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        };
        self.0.bytes().map(escaped).sum()
    }
}

impl TryFrom<String> for Body {
    type Error = InvalidBody;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.contains('\0') {
            return Err(InvalidBody::Nul);
        }
        // Bytes first, so that the characters of a text of a megabyte are not counted.
        if text.len() > BODY_MAX_CHARS * 4 || text.chars().count() > BODY_MAX_CHARS {
            return Err(InvalidBody::TooLong);
        }
        if text.trim().is_empty() {
            return Err(InvalidBody::Blank);
        }
        Ok(Self(text))
    }
}

/// Law I14: a body never reaches a log, not even by `{:?}`.
impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Body({} bytes)", self.0.len())
    }
}

/// Kind of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// A text.
    Text,
    /// A picture, perhaps with a text below it.
    Image,
}

/// Readers of a message. A private one is in the notes of its session, which have no customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// All members of the session.
    #[default]
    Public,
    /// The professionals among them.
    Private,
}

/// A checked picture, as a message shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Name of the picture in the session.
    pub key: String,
    /// Media type.
    pub content_type: String,
    /// Size in bytes.
    pub size: u64,
    /// In pixels, as displayed.
    pub width: u32,
    /// Height in pixels, as displayed.
    pub height: u32,
    /// Name of the sender's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
}

impl Image {
    /// A picture that does not exist: no upload has an empty key.
    pub fn nameless() -> Self {
        let (key, content_type) = (String::new(), String::new());
        Self { key, content_type, size: 0, width: 0, height: 0, file_name: None }
    }
}

/// One Unicode emoji.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(min_length = 1, max_length = 32, examples("👍"))]
pub struct Emoji(String);

/// Error for a text that is no emoji.
#[derive(Debug, thiserror::Error)]
#[error("must be one emoji")]
pub struct NotAnEmoji;

impl FromStr for Emoji {
    type Err = NotAnEmoji;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The forms with and without the presentation selector are the same emoji.
        let emoji = emojis::get(text).ok_or(NotAnEmoji)?;
        Ok(Self(emoji.as_str().to_owned()))
    }
}

impl TryFrom<String> for Emoji {
    type Error = NotAnEmoji;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// People who have reacted with an emoji, in the order of their reactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reaction {
    /// The emoji.
    pub emoji: Emoji,
    /// Everyone who reacts with it.
    pub by: Vec<Person>,
}

impl Message {
    /// Key of the session.
    pub fn session(&self) -> SessionKey {
        self.sender.person.session(self.session_id)
    }
}

/// A message that is accepted but not committed yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Id of the message.
    pub id: MessageId,
    /// The session.
    pub session_id: SessionId,
    /// The sender.
    pub sender: Person,
    /// The sender's own id, which counts once.
    pub client_id: ClientId,
    /// Absent only beside a picture.
    pub body: Option<Body>,
    /// The picture.
    pub image: Option<Image>,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
}

impl Draft {
    /// Key of the session.
    pub fn session(&self) -> SessionKey {
        self.sender.session(self.session_id)
    }

    /// The committed message of this draft.
    pub fn committed(&self, seq: u64, sender_name: String, created_at: Timestamp) -> Message {
        Message {
            id: self.id,
            session_id: self.session_id,
            seq,
            client_id: self.client_id.clone(),
            sender: Profile { person: self.sender.clone(), name: sender_name },
            kind: if self.image.is_some() { MessageKind::Image } else { MessageKind::Text },
            body: self.body.clone(),
            image: self.image.clone(),
            reply_to: self.reply_to,
            reactions: Vec::new(),
            created_at,
            edited_at: None,
            deleted_at: None,
            rev: None,
        }
    }
}

/// A committed message, as clients receive it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Id of the message.
    #[schema(value_type = uuid::Uuid)]
    pub id: MessageId,
    /// The session.
    pub session_id: SessionId,
    /// Place in the session: 1, 2, 3 …
    pub seq: u64,
    /// The sender's own id.
    pub client_id: ClientId,
    /// The sender.
    pub sender: Profile,
    /// A text or a picture.
    pub kind: MessageKind,
    /// Clients receive an empty text if it is absent: the message is deleted, or only a picture.
    #[serde(serialize_with = "or_empty")]
    #[schema(value_type = String, max_length = 8000)]
    pub body: Option<Body>,
    /// The picture, unless the message is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub reply_to: Option<MessageId>,
    /// Reactions, by emoji.
    pub reactions: Vec<Reaction>,
    /// Time of the commit.
    pub created_at: Timestamp,
    /// Time of the last edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// Time of the deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// The session's revision of its last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<u64>,
}

#[expect(clippy::ref_option, reason = "serde asks for a reference")]
fn or_empty<S: Serializer>(body: &Option<Body>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(body.as_ref().map_or("", Body::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Result<Body, InvalidBody> {
        text.to_owned().try_into()
    }

    #[test]
    fn b44_b45_a_body_is_bounded_and_kept_as_it_is() {
        assert_eq!(body(""), Err(InvalidBody::Blank));
        assert_eq!(body(" \n\t\u{3000}"), Err(InvalidBody::Blank));
        assert_eq!(body("a\0b"), Err(InvalidBody::Nul));
        assert_eq!(body(&"é".repeat(8_001)), Err(InvalidBody::TooLong));
        assert_eq!(body(&"\u{301}".repeat(1_000_000)), Err(InvalidBody::TooLong));
        for kept in ["<b>&amp;", "\u{202e}abc", " a ", &"😀".repeat(8_000)] {
            assert_eq!(body(kept).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn a_body_is_never_longer_in_json_than_it_says() {
        for text in ["plain", "\"quoted\"\\\n\t\u{1}\u{7f}", "é😀\u{2028}"] {
            let json = serde_json::to_string(text).unwrap();
            assert!(body(text).unwrap().json_len() >= json.len() - 2, "{json}");
        }
    }

    #[test]
    fn i14_a_body_does_not_print() {
        assert!(!format!("{:?}", body("a secret").unwrap()).contains("secret"));
    }

    #[test]
    fn a_client_id_is_short_and_visible() {
        assert!("0190-ab+/=".parse::<ClientId>().is_ok());
        for bad in ["", "a b", "é", "\n", &"x".repeat(65)] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad}");
        }
    }
}
