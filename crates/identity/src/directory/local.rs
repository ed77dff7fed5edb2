//! Directory of a node without a legacy one. Any well-formed id is a person, with a neutral name unless
//! `people.json` in the data directory has a better one: `{"customer:<id>": "Name", "dentist:<id>":
//! {"name": "Name", "email": …, "avatarUrl": …}}`.

use std::{collections::HashMap, io::ErrorKind, path::Path};

use anyhow::Context;
use async_trait::async_trait;
use serde::Deserialize;

use super::{Directory, DirectoryError, Entry};
use model::person::Person;

pub(super) struct Local {
    people: HashMap<String, Written>,
}

/// Person in the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Name(String),
    #[serde(rename_all = "camelCase")]
    Entry {
        name: String,
        #[serde(default)]
        avatar_url: Option<String>,
        #[serde(default)]
        email: Option<String>,
    },
}

impl Local {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let people = match std::fs::read(path) {
            Ok(json) => serde_json::from_slice(&json)
                .with_context(|| format!("{}: must be a JSON object of people", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self { people })
    }
}

#[async_trait]
impl Directory for Local {
    async fn person(&self, person: &Person) -> Result<Option<Entry>, DirectoryError> {
        let (name, avatar_url, email) = match self.people.get(&person.to_string()) {
            Some(Written::Name(name)) => (name.as_str(), None, None),
            Some(Written::Entry { name, avatar_url, email }) => {
                (name.as_str(), avatar_url.as_deref(), email.as_deref())
            }
            None => ("", None, None),
        };
        Ok(Some(Entry::shown(person, name, avatar_url, email)))
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::TenantId;
    use model::person::Side;

    #[tokio::test]
    async fn names_come_from_the_file_and_are_neutral_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("people.json");
        let dentist = |id: &str| Person::new(TenantId::MAIN, Side::Desk, id.parse().unwrap());
        let without = Local::open(&path).unwrap();
        assert_eq!(without.person(&dentist("7")).await.unwrap().unwrap().name, "Dentist");
        let people = r#"{"dentist:7": " Dana\nDrill ", "dentist:8": " ",
            "dentist:9": {"name": "Nora", "avatarUrl": "https://a.example/n.png", "email": "no"}}"#;
        std::fs::write(&path, people).unwrap();
        let with = Local::open(&path).unwrap();
        for (id, name) in [("7", "Dana Drill"), ("8", "Dentist"), ("9", "Nora")] {
            assert_eq!(with.person(&dentist(id)).await.unwrap().unwrap().name, name);
        }
        let nora = with.person(&dentist("9")).await.unwrap().unwrap();
        assert_eq!(nora.avatar_url.unwrap().as_str(), "https://a.example/n.png");
        assert_eq!(nora.email, None, "what is no address is left out");
        std::fs::write(&path, "[]").unwrap();
        assert!(Local::open(&path).err().unwrap().to_string().contains("people.json"));
    }
}
