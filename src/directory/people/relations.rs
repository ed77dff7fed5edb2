//! Relations: whether two people may talk, by the directory.

use std::time::Duration;

use moka::future::Cache;

use super::{DirectoryError, People};
use crate::person::PersonId;

/// How many answers are kept.
const ANSWERS: u64 = 10_000;
/// How long one counts: a relation that was just made, or has ended, is soon seen.
const LIFETIME: Duration = Duration::from_secs(10);

/// By customer and dentist.
pub(super) type Relations = Cache<(PersonId, PersonId), bool>;

pub(super) fn cache() -> Relations {
    Cache::builder().max_capacity(ANSWERS).time_to_live(LIFETIME).build()
}

impl People {
    /// Whether the two may open a session. A directory that is away lets nobody: a session that can't
    /// be opened for the moment is a nuisance, one that should not be there is a breach.
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
