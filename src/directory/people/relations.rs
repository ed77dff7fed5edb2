//! Permission of two people to talk, from the directory.

use std::time::Duration;

use moka::future::Cache;

use super::{DirectoryError, People};
use crate::person::PersonId;

/// Maximum number of cached answers.
const ANSWERS: u64 = 10_000;
/// Lifetime of an answer: a new or ended relation is soon seen.
const LIFETIME: Duration = Duration::from_secs(10);

/// Answers by customer and dentist.
pub(super) type Relations = Cache<(PersonId, PersonId), bool>;

pub(super) fn cache() -> Relations {
    Cache::builder().max_capacity(ANSWERS).time_to_live(LIFETIME).build()
}

impl People {
    /// Whether the two may open a session. An unavailable directory permits none: a session that cannot
    /// be opened for a moment is a nuisance, a forbidden one is a breach.
    pub(crate) async fn may_talk(
        &self,
        customer: &PersonId,
        dentist: &PersonId,
    ) -> Result<bool, DirectoryError> {
        if !self.directory.has_relations() {
            return Ok(true);
        }
        let asked = self.counted(self.directory.may_talk(customer, dentist), |may| *may);
        let pair = (customer.clone(), dentist.clone());
        let answer = self.relations.try_get_with(pair, asked).await;
        answer.map_err(|error| DirectoryError::clone(&error))
    }
}
