//! Names of people, from the read-only legacy directory or without one.

pub mod counts;
mod local;
pub mod mysql;
pub mod people;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;

use self::mysql::config::MysqlConfig;
use model::{
    person::{Person, PersonId},
    profile::{AvatarUrl, Email},
};
use platform::Source;
use protocol::error::Error;

/// Maximum length of a name in characters. Longer names are cut. The database enforces the limit too.
const NAME_MAX_CHARS: usize = 200;

/// Failure of the directory. Members of a session are then shown with the last known name.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The directory gives no answer.
    #[error("{0}")]
    Unavailable(Source),
}

/// The cause is logged at the query; for a second after that the directory is not queried.
impl From<DirectoryError> for Error {
    fn from(DirectoryError::Unavailable(_): DirectoryError) -> Self {
        Self::Unavailable
    }
}

/// Directory entry of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name, as shown to the other side.
    pub name: String,
    /// Picture of the person.
    pub avatar_url: Option<AvatarUrl>,
    /// E-mail address, shown to a professional only.
    pub email: Option<Email>,
}

/// Source of people's names.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Entry of a person, or `None` if the person is unknown.
    async fn person(&self, person: &Person) -> Result<Option<Entry>, DirectoryError>;

    /// Whether the directory knows which people may talk to each other.
    fn has_relations(&self) -> bool {
        false
    }

    /// Whether these two may open a session with each other.
    async fn may_talk(&self, _: &PersonId, _: &PersonId) -> Result<bool, DirectoryError> {
        Ok(true)
    }

    /// Whether the directory answers.
    async fn ping(&self) -> Result<(), DirectoryError>;
}

/// Opens the legacy database, or the file that stands in for it.
pub fn open(mysql: Option<&MysqlConfig>, data_dir: &Path) -> anyhow::Result<Arc<dyn Directory>> {
    match mysql {
        Some(config) => Ok(Arc::new(mysql::Mysql::open(config)?)),
        None => Ok(Arc::new(local::Local::open(&data_dir.join("people.json"))?)),
    }
}

impl Entry {
    /// Entry for display, without invalid names, URLs and addresses.
    fn shown(person: &Person, name: &str, avatar_url: Option<&str>, email: Option<&str>) -> Self {
        let neutral = || person.side.neutral_name().to_owned();
        Self {
            name: on_one_line(name).unwrap_or_else(neutral),
            avatar_url: avatar_url.and_then(|url| url.parse().ok()),
            email: email.and_then(|email| email.parse().ok()),
        }
    }
}

/// Name on one line, trimmed and bounded. `None` if it is empty.
fn on_one_line(name: &str) -> Option<String> {
    let letter = |letter: char| if letter.is_control() { ' ' } else { letter };
    let name: String = name.chars().map(letter).collect();
    let name: String = name.trim().chars().take(NAME_MAX_CHARS).collect();
    (!name.is_empty()).then_some(name)
}
