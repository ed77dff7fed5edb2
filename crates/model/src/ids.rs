//! Identities of tenants, sessions and messages, and of the epoch in which positions count.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Number of a tenant: one organisation.
///
/// Law I15: every statement, key, channel and cache entry carries the tenant. The same id in two tenants is
/// two people, and a session of another tenant does not exist. Statements that work for all tenants at once
/// are listed in `tests/tidy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(i32);

impl TenantId {
    /// The tenant of an installation with a single organisation.
    pub const MAIN: Self = Self(1);

    /// The tenant of this number. `None` for a number below 1.
    pub fn new(number: i32) -> Option<Self> {
        (number >= 1).then_some(Self(number))
    }

    /// The number, as rows hold it.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Key of a session of this tenant.
    pub fn session(self, id: SessionId) -> SessionKey {
        SessionKey { tenant: self, id }
    }

    /// Cuts a name into its tenant, which is `main` if the name has none, and the rest: `2/…` or `…`.
    /// `None` for a tenant that is not written as we write it, so that nothing has two names.
    pub(crate) fn split(name: &str) -> Option<(Self, &str)> {
        let Some((number, rest)) = name.split_once('/') else { return Some((Self::MAIN, name)) };
        let tenant = number.parse().ok().and_then(Self::new)?;
        let is_ours = tenant != Self::MAIN && tenant.0.to_string() == number;
        is_ours.then_some((tenant, rest))
    }
}

/// Identity of a session, a `UUIDv7`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

/// A session with its tenant: the key of rooms, channels and queues (law I15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The session.
    pub id: SessionId,
}

/// Name in channels. Tenant `main` is not named, as before there were others.
impl fmt::Display for SessionKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant != TenantId::MAIN {
            write!(out, "{}/", self.tenant.number())?;
        }
        write!(out, "{}", self.id.0)
    }
}

/// Error for a text that names no session.
#[derive(Debug, thiserror::Error)]
#[error("names no session")]
pub struct NotASession;

/// The inverse of `Display`.
impl FromStr for SessionKey {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tenant, id) = TenantId::split(text).ok_or(NotASession)?;
        Ok(tenant.session(SessionId(id.parse().map_err(|_| NotASession)?)))
    }
}

/// Epoch of the order, within which `seq` counts. Clients only compare it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct EpochId(pub Uuid);

/// Identity of a message, a `UUIDv7`. Its position in the session is its `seq`.
pub type MessageId = Uuid;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i15_a_session_is_named_with_its_tenant_except_in_main() {
        let id = "0193c3a0-0000-7000-8000-000000000001";
        for (number, name) in [(1, id.to_owned()), (2, format!("2/{id}"))] {
            let tenant = TenantId::new(number).unwrap();
            let key = tenant.session(SessionId(id.parse().unwrap()));
            assert_eq!((key.to_string(), name.parse().unwrap()), (name, key));
        }
        for bad in ["", "7", &format!("1/{id}"), &format!("02/{id}"), &format!("/{id}")] {
            assert!(bad.parse::<SessionKey>().is_err(), "{bad}");
        }
    }
}
