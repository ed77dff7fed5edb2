//! The directory of a node without a legacy one: any well-formed id is someone, shown by a neutral
//! name unless `people.json` in the data directory has a better one
//! (`{"customer:<id>": "Name", "dentist:<id>": "Name"}`).

use std::{collections::HashMap, io::ErrorKind, path::Path};

use anyhow::Context;
use async_trait::async_trait;

use super::{Directory, DirectoryError, shown};
use crate::person::Person;

#[derive(Debug)]
pub(super) struct Local {
    names: HashMap<String, String>,
}

impl Local {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let names = match std::fs::read(path) {
            Ok(json) => serde_json::from_slice(&json)
                .with_context(|| format!("{} is not an object of names", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self { names })
    }
}

#[async_trait]
impl Directory for Local {
    async fn name(&self, person: &Person) -> Result<Option<String>, DirectoryError> {
        let known = self.names.get(&person.to_string()).and_then(|name| shown(name));
        Ok(Some(known.unwrap_or_else(|| person.kind.neutral_name().to_owned())))
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::PersonKind;

    #[tokio::test]
    async fn names_come_from_the_file_and_are_neutral_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("people.json");
        let dentist = |id: &str| Person::new(PersonKind::Dentist, id.parse().unwrap());
        let without = Local::open(&path).unwrap();
        assert_eq!(without.name(&dentist("7")).await.unwrap().as_deref(), Some("Dentist"));
        std::fs::write(&path, r#"{"dentist:7": " Dana\nDrill ", "dentist:8": " "}"#).unwrap();
        let with = Local::open(&path).unwrap();
        assert_eq!(with.name(&dentist("7")).await.unwrap().as_deref(), Some("Dana Drill"));
        assert_eq!(with.name(&dentist("8")).await.unwrap().as_deref(), Some("Dentist"));
        std::fs::write(&path, "[]").unwrap();
        assert!(Local::open(&path).unwrap_err().to_string().contains("people.json"));
    }
}
