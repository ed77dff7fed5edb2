//! Admission to the desk: for people of tenants that are not suspended, unless they are blocked.

use std::sync::Arc;

use crate::{auth::AuthError, blocks::Blocks, tenants::Tenants};
use model::person::Person;

/// The lists by which people with valid tokens are refused.
#[derive(Clone)]
pub struct Admission {
    /// Blocked people.
    pub blocks: Arc<Blocks>,
    /// Suspended tenants.
    pub tenants: Arc<Tenants>,
}

impl Admission {
    /// Checks that a person may use the desk now.
    pub fn check(&self, person: &Person) -> Result<(), AuthError> {
        if self.tenants.is_suspended(person.tenant) {
            Err(AuthError::TenantSuspended)
        } else if self.blocks.is_blocked(person) {
            Err(AuthError::Blocked)
        } else {
            Ok(())
        }
    }
}
