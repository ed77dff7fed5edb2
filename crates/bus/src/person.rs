//! People between nodes: as clients see them, and with their tenant if it is not `main`. Nodes of the version
//! before know no other tenant.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use model::{
    ids::TenantId,
    person::{Person, PersonName},
};

#[derive(Serialize, Deserialize)]
struct OnBus {
    #[serde(flatten)]
    name: PersonName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<i32>,
}

/// Writes a person.
pub(crate) fn serialize<S: Serializer>(person: &Person, out: S) -> Result<S::Ok, S::Error> {
    let tenant = (person.tenant != TenantId::MAIN).then_some(person.tenant.number());
    OnBus { name: person.name(), tenant }.serialize(out)
}

/// Reads a person.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Person, D::Error> {
    let OnBus { name, tenant } = OnBus::deserialize(input)?;
    let tenant = tenant.map_or(Some(TenantId::MAIN), TenantId::new);
    Ok(name.of(tenant.ok_or_else(|| D::Error::custom("no tenant"))?))
}

/// The same for a person who may be absent.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, Person, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes the field")]
    pub(crate) fn serialize<S: Serializer>(
        person: &Option<Person>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match person {
            Some(person) => super::serialize(person, out),
            None => out.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Person>, D::Error> {
        #[derive(Deserialize)]
        struct Known(#[serde(with = "super")] Person);
        Ok(Option::<Known>::deserialize(input)?.map(|Known(person)| person))
    }
}
