//! Scopes: the tenant, the actor and the rights with which a store is read or changed.

use std::ops::Deref;

use crate::person::Person;

/// Rights of an actor beyond those of a member of their sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Whether they administer their tenant.
    pub admin: bool,
}

/// An actor of a tenant, with their rights. A function of a store that acts for one actor takes it first, and binds its
/// tenant; `tests/tidy/scopes.rs` lists the others. Only `identity` makes one, from a verified token.
///
/// It dereferences to its actor, for functions that need a person and no rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    actor: Person,
    grants: Grants,
}

impl Scope {
    /// The scope of an actor whose rights are verified.
    pub fn new(actor: Person, grants: Grants) -> Self {
        Self { actor, grants }
    }

    /// The actor.
    pub fn person(&self) -> &Person {
        &self.actor
    }

    /// Their rights.
    pub fn grants(&self) -> Grants {
        self.grants
    }

    /// The same actor with no rights beyond their sessions.
    pub fn without_grants(self) -> Self {
        Self { grants: Grants::default(), ..self }
    }

    /// The scope of an administrator, if the actor is one.
    pub fn into_admin(self) -> Option<AdminScope> {
        self.grants.admin.then_some(AdminScope(self))
    }
}

impl Deref for Scope {
    type Target = Person;

    fn deref(&self) -> &Person {
        &self.actor
    }
}

/// The scope of an administrator. A function that checks no membership takes it, so that no other actor can call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminScope(Scope);

impl Deref for AdminScope {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::TenantId, person::Side};

    #[test]
    fn only_an_admin_has_the_scope_of_one() {
        let dana = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        let of = |admin| Scope::new(dana.clone(), Grants { admin });
        assert_eq!(of(false).into_admin(), None);
        let admin = of(true).into_admin().unwrap();
        assert_eq!((admin.person(), admin.tenant), (&dana, TenantId::MAIN));
        assert_eq!(of(true).without_grants().into_admin(), None);
    }
}
