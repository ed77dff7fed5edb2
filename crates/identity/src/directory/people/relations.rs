//! Permission of two people to talk, from the directory.

use std::time::Duration;

use moka::future::Cache;

use super::{DirectoryError, People};
use model::{ids::TenantId, person::Person};

/// Maximum number of cached answers.
const ANSWERS: u64 = 10_000;
/// Lifetime of an answer: a new or ended relation is soon seen.
const LIFETIME: Duration = Duration::from_secs(10);

/// Answers by customer and professional.
pub(super) type Relations = Cache<(Person, Person), bool>;

pub(super) fn cache() -> Relations {
    Cache::builder().max_capacity(ANSWERS).time_to_live(LIFETIME).build()
}

impl People {
    /// Whether the two may open a session. An unavailable directory permits none: a session that cannot
    /// be opened for a moment is a nuisance, a forbidden one is a breach.
    pub async fn may_talk(&self, contact: &Person, agent: &Person) -> Result<bool, DirectoryError> {
        // The legacy directory is the main tenant's.
        if !self.directory.has_relations() || contact.tenant != TenantId::MAIN {
            return Ok(true);
        }
        let asked = self.directory.may_talk(&contact.id, &agent.id);
        let asked = self.counted(asked, |may| *may);
        let pair = (contact.clone(), agent.clone());
        let answer = self.relations.try_get_with(pair, asked).await;
        answer.map_err(|error| DirectoryError::clone(&error))
    }
}
