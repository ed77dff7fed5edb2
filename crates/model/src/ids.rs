//! Identities of tenants, sessions and messages, and of the epoch in which positions count.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Number of a tenant: one organisation. Everything belongs to one tenant (law I15).
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
}

/// Identity of a session, a `UUIDv7`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

/// Epoch of the order, within which `seq` counts. Clients only compare it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct EpochId(pub Uuid);

/// Identity of a message, a `UUIDv7`. Its position in the session is its `seq`.
pub type MessageId = Uuid;
