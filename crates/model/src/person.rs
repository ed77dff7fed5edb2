//! Actors: contacts on one side of the desk; agents, bots and the system on the other.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Unexpected, Visitor},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::ids::{SessionId, SessionKey, TenantId};

// The names are from the time when the only organisation was a dental group. A broadcast is encoded once a framing, below
// `gateway` (law I9), so its names are serde names of this type and of `Session`. Code between the database and the wire
// has contacts and agents.
/// Side of the desk: `customer` is the organisation's customers', `dentist` its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = PersonKind)]
pub enum Side {
    /// The side of the organisation's customers.
    #[serde(rename = "customer")]
    Contact,
    /// The organisation's own side: its professionals, and what acts for them.
    #[serde(rename = "dentist")]
    Desk,
}

impl Side {
    /// Name in tokens, rows and channels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "customer",
            Self::Desk => "dentist",
        }
    }

    /// Name of a person whose name is unknown.
    pub fn neutral_name(self) -> &'static str {
        match self {
            Self::Contact => "Patient",
            Self::Desk => "Dentist",
        }
    }
}

impl FromStr for Side {
    type Err = InvalidPerson;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "customer" => Ok(Self::Contact),
            "dentist" => Ok(Self::Desk),
            _ => Err(InvalidPerson),
        }
    }
}

/// Kind of an actor. It follows from side and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// A customer of the organisation.
    Contact,
    /// A professional of the organisation.
    Agent,
    /// A program that writes for the organisation.
    Bot,
    /// frontdesk itself.
    System,
}

impl ActorKind {
    /// Whether it is a person, with devices.
    pub fn is_human(self) -> bool {
        matches!(self, Self::Contact | Self::Agent)
    }
}

/// Beginnings of the ids of those who act on the desk's side without being professionals. No token has such an id, and
/// no client names one.
const RESERVED: [(&str, ActorKind); 2] = [("bot:", ActorKind::Bot), ("system:", ActorKind::System)];

/// A person's id: 1 to 128 of `A–Z a–z 0–9 . _ : @ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9._:@-]{1,128}$", examples("7"))]
pub struct PersonId(Arc<str>);

/// Error for a text that is no side of the desk, or no id.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 128 of A-Z a-z 0-9 . _ : @ -, and not begin with bot: or system:")]
pub struct InvalidPerson;

impl PersonId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An id in a token, a request or a command: it is a person's.
    pub fn from_outside(text: &str) -> Result<Self, InvalidPerson> {
        text.parse().ok().filter(|id: &Self| id.reserved().is_none()).ok_or(InvalidPerson)
    }

    /// Kind of the actor whose id this is on the desk's side, unless it is a professional's.
    fn reserved(&self) -> Option<ActorKind> {
        RESERVED.iter().find(|(start, _)| self.0.starts_with(start)).map(|(_, kind)| *kind)
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

/// In JSON, which comes from tokens and clients, an id may be a number too, because Django numbers its users. It is not
/// the id of a bot.
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

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<PersonId, E> {
                match as_whole(number) {
                    Some(whole) => self.visit_u64(whole),
                    None => Err(E::invalid_type(Unexpected::Float(number), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PersonId, E> {
                PersonId::from_outside(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

/// A person who can be a member of a session. The same id in two tenants is two people. Clients see no tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Person {
    /// The tenant.
    pub tenant: TenantId,
    /// Side of the desk.
    pub side: Side,
    /// The id in the person's token, or of the bot.
    pub id: PersonId,
}

/// A person, or a program that acts for the organisation. The same id on the other side is somebody else.
#[derive(Serialize, ToSchema)]
#[schema(as = Person)]
struct ShownPerson<'a> {
    kind: Side,
    id: &'a PersonId,
    /// Absent for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    actor: Option<ActorKind>,
}

impl Serialize for Person {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let actor = Some(self.actor()).filter(|actor| !actor.is_human());
        ShownPerson { kind: self.side, id: &self.id, actor }.serialize(serializer)
    }
}

impl PartialSchema for Person {
    fn schema() -> RefOr<Schema> {
        ShownPerson::schema()
    }
}

impl ToSchema for Person {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ShownPerson::schemas(schemas);
    }
}

impl Person {
    /// The person with this id on this side, in this tenant.
    pub fn new(tenant: TenantId, side: Side, id: PersonId) -> Self {
        Self { tenant, side, id }
    }

    /// Kind of this actor.
    pub fn actor(&self) -> ActorKind {
        match self.side {
            Side::Contact => ActorKind::Contact,
            Side::Desk => self.id.reserved().unwrap_or(ActorKind::Agent),
        }
    }

    /// Key of a session of their tenant.
    pub fn session(&self, id: SessionId) -> SessionKey {
        self.tenant.session(id)
    }

    /// Their name within the tenant.
    pub fn name(&self) -> PersonName {
        PersonName { side: self.side, id: self.id.clone() }
    }
}

/// Name in keys and channels: unique over all tenants. Tenant `main` is not named, as before there were others.
impl fmt::Display for Person {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant != TenantId::MAIN {
            write!(out, "{}/", self.tenant.number())?;
        }
        write!(out, "{}:{}", self.side.as_str(), self.id.as_str())
    }
}

/// The inverse of `Display`.
impl FromStr for Person {
    type Err = InvalidPerson;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // No kind and no id contains the separator.
        let (tenant, name) = TenantId::split(text).ok_or(InvalidPerson)?;
        let (side, id) = name.split_once(':').ok_or(InvalidPerson)?;
        Ok(Self::new(tenant, side.parse()?, id.parse()?))
    }
}

/// Name of a person within their tenant, in rows, on the bus and in paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonName {
    /// Side of the desk.
    #[serde(rename = "kind")]
    pub side: Side,
    /// The id in the person's token, or of the bot.
    #[serde(deserialize_with = "any_id")]
    pub id: PersonId,
}

/// An id that frontdesk itself has written: it may be a bot's.
fn any_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PersonId, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

impl PersonName {
    /// The person of this name in a tenant.
    pub fn of(self, tenant: TenantId) -> Person {
        Person::new(tenant, self.side, self.id)
    }
}

/// A person as others see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Profile {
    /// The person.
    #[serde(flatten)]
    pub person: Person,
    /// Last known name.
    pub name: String,
}

/// The whole number that a float represents, as long as floats are exact (below 2^53).
pub fn as_whole(number: f64) -> Option<u64> {
    const BEYOND: f64 = 9_007_199_254_740_992.0;
    let fits = (0.0..BEYOND).contains(&number) && number.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it fits")]
    fits.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn a_bot_is_on_the_desks_side_and_nobody_from_outside_has_its_id() {
        let person = |side, id: &str| Person::new(TenantId::MAIN, side, id.parse().unwrap());
        let shown = |person: &Person| serde_json::to_value(person).unwrap();
        for (id, actor, name) in
            [("bot:7", ActorKind::Bot, "bot"), ("system:x", ActorKind::System, "system")]
        {
            let bot = person(Side::Desk, id);
            assert_eq!((bot.actor(), bot.actor().is_human()), (actor, false));
            // Today's apps know two sides.
            assert_eq!(shown(&bot), json!({ "kind": "dentist", "id": id, "actor": name }));
            assert_eq!(bot.to_string().parse::<Person>().unwrap(), bot);
            let written = serde_json::to_value(bot.name()).unwrap();
            assert_eq!(serde_json::from_value::<PersonName>(written).unwrap(), bot.name());
            assert!(serde_json::from_value::<PersonId>(json!(id)).is_err(), "{id}");
            assert_eq!(person(Side::Contact, id).actor(), ActorKind::Contact);
        }
        let dana = person(Side::Desk, "robot:7");
        assert_eq!((dana.actor(), dana.actor().is_human()), (ActorKind::Agent, true));
        assert_eq!(shown(&dana), json!({ "kind": "dentist", "id": "robot:7" }));
        assert_eq!(serde_json::from_value::<PersonId>(json!(7)).unwrap().as_str(), "7");
    }

    #[test]
    fn i15_a_person_is_named_with_their_tenant_except_in_main() {
        let id: PersonId = "a:b".parse().unwrap();
        for (number, name) in [(1, "dentist:a:b"), (2, "2/dentist:a:b"), (907, "907/dentist:a:b")] {
            let tenant = TenantId::new(number).unwrap();
            let person = Person::new(tenant, Side::Desk, id.clone());
            assert_eq!((person.to_string().as_str(), name.parse().unwrap()), (name, person));
        }
        // Every person has one name.
        for bad in [
            "",
            "dentist",
            "nobody:7",
            "1/dentist:7",
            "0/dentist:7",
            "-2/dentist:7",
            "02/dentist:7",
            "+2/dentist:7",
            "2/2/dentist:7",
            "/dentist:7",
            "99999999999/dentist:7",
        ] {
            assert!(bad.parse::<Person>().is_err(), "{bad}");
        }
        let person = Person::new(TenantId::new(2).unwrap(), Side::Desk, id);
        let shown = serde_json::to_string(&person).unwrap();
        assert_eq!(shown, r#"{"kind":"dentist","id":"a:b"}"#, "clients see no tenant");
    }
}
