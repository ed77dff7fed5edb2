//! People: names, avatars, and the times when they were last connected.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::person::{AvatarUrl, Person};

/// The part of a store that keeps what it knows of people.
#[async_trait]
pub(crate) trait People: Send + Sync + 'static {
    /// Records that these people are connected now, or were until now.
    async fn seen(&self, people: &[Person]) -> Result<(), StoreError>;

    /// Time when someone was last connected.
    async fn last_seen(&self, person: &Person) -> Result<Option<Timestamp>, StoreError>;

    /// Updates a person's name and avatar in all their sessions.
    async fn rename(
        &self,
        person: &Person,
        name: &str,
        avatar_url: Option<&AvatarUrl>,
    ) -> Result<(), StoreError>;
}
