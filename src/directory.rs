//! People's names: from the legacy directory, which is only ever read, or from none.

mod local;
mod mysql;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{config::Config, person::Person, store::Source};

/// The longest name, in characters; a longer one is cut. The database enforces it too.
const NAME_MAX_CHARS: usize = 200;

/// The directory is away. Who is in a session already is shown by the last known name.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("{0}")]
    Unavailable(Source),
}

/// Someone who knows people's names.
#[async_trait]
pub(crate) trait Directory: Send + Sync + 'static {
    /// The person's name; `None` where the directory doesn't know the person.
    async fn name(&self, person: &Person) -> Result<Option<String>, DirectoryError>;

    /// Whether the directory answers.
    async fn ping(&self) -> Result<(), DirectoryError>;
}

pub(crate) fn open(config: &Config) -> anyhow::Result<Arc<dyn Directory>> {
    match &config.mysql {
        Some(config) => Ok(Arc::new(mysql::Mysql::open(config)?)),
        None => Ok(Arc::new(local::Local::open(&config.data_dir.join("people.json"))?)),
    }
}

/// A name as it may be shown: trimmed, bounded, on one line; `None` for an empty one.
fn shown(name: &str) -> Option<String> {
    let on_one_line = |letter: char| if letter.is_control() { ' ' } else { letter };
    let name: String = name.chars().map(on_one_line).collect();
    let name: String = name.trim().chars().take(NAME_MAX_CHARS).collect();
    (!name.is_empty()).then_some(name)
}
