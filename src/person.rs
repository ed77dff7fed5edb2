//! Who takes part: a customer or a dentist, named by the id that their token carries.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};

/// Which side of the desk a person is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PersonKind {
    Customer,
    Dentist,
}

impl PersonKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Dentist => "dentist",
        }
    }

    /// What a person is called whose name nobody knows.
    pub(crate) fn neutral_name(self) -> &'static str {
        match self {
            Self::Customer => "Patient",
            Self::Dentist => "Dentist",
        }
    }
}

impl FromStr for PersonKind {
    type Err = InvalidPerson;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "customer" => Ok(Self::Customer),
            "dentist" => Ok(Self::Dentist),
            _ => Err(InvalidPerson),
        }
    }
}

/// A person's id: 1 to 128 of `A–Z a–z 0–9 . _ : @ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct PersonId(Arc<str>);

/// Text that is not a person's kind or id.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 128 of A-Z a-z 0-9 . _ : @ -")]
pub(crate) struct InvalidPerson;

impl PersonId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PersonId {
    type Err = InvalidPerson;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPerson)
        }
    }
}

/// In JSON an id may be a number too: Django numbers its users.
impl<'de> Deserialize<'de> for PersonId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = PersonId;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an id: a string or a whole number")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<PersonId, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PersonId, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

/// Someone who can be a member of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) kind: PersonKind,
    pub(crate) id: PersonId,
}

impl Person {
    pub(crate) fn new(kind: PersonKind, id: PersonId) -> Self {
        Self { kind, id }
    }
}

impl fmt::Display for Person {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.kind.as_str(), self.id.as_str())
    }
}

/// A person as others see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    #[serde(flatten)]
    pub(crate) person: Person,
    pub(crate) name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_plain() {
        for good in ["7", "a-B_c.d:e@f", &"x".repeat(128)] {
            assert!(good.parse::<PersonId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a\r\nb", "é", "a'--", &"x".repeat(129)] {
            assert!(bad.parse::<PersonId>().is_err(), "{bad}");
        }
    }
}
