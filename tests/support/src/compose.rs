//! Services of `compose.yaml`, read as Docker Compose would.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The parsed file, with generated secrets.
#[derive(Debug)]
pub struct Compose {
    file: Value,
    secrets: HashMap<String, String>,
}

impl Compose {
    /// Reads the file and generates secrets as an operator does.
    #[must_use]
    pub fn read() -> Self {
        let text = fs::read_to_string(root().join("compose.yaml")).unwrap();
        let file = serde_saphyr::from_str(&text).expect("compose.yaml is no YAML");
        let made = run(&mut Command::new(root().join("deploy/compose/secrets")));
        let lines = made.lines().filter(|line| !line.starts_with('#'));
        let secrets = lines.filter_map(|line| line.split_once('='));
        let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { file, secrets }
    }

    /// Variables of a service.
    #[must_use]
    pub fn environment(&self, service: &str) -> HashMap<String, String> {
        let environment = &self.file["services"][service]["environment"];
        let environment = environment.as_object().unwrap_or_else(|| panic!("no {service}"));
        environment
            .iter()
            .map(|(name, value)| (name.clone(), self.filled_in(value.as_str().unwrap())))
            .collect()
    }

    /// Words of a service's `entrypoint` after the program.
    #[must_use]
    pub fn arguments(&self, service: &str) -> Vec<String> {
        let words = self.file["services"][service]["entrypoint"].as_array();
        let words = words.unwrap_or_else(|| panic!("no {service}")).iter().skip(1);
        words.map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    /// Replaces each `${NAME}`, `${NAME:?message}` and `${NAME:-default}` by its value.
    fn filled_in(&self, text: &str) -> String {
        let Some((before, rest)) = text.split_once("${") else { return text.to_owned() };
        let (inside, behind) = rest.split_once('}').unwrap();
        let (name, otherwise) = inside.split_once(':').unwrap_or((inside, ""));
        let value = match (self.secrets.get(name), otherwise.strip_prefix('-')) {
            (Some(value), _) => value.as_str(),
            (None, Some(otherwise)) => otherwise,
            (None, None) => panic!("{name} is not in .env.example"),
        };
        format!("{before}{value}{}", self.filled_in(behind))
    }
}

impl Compose {
    /// Creates a key set and a certificate in a directory, as the service `setup` does.
    pub fn set_up(keys: &Path) {
        run(Command::new(root().join("deploy/compose/setup")).env("KEYS", keys));
    }

    /// Text of a file of `deploy/compose/`.
    #[must_use]
    pub fn file(path: &str) -> String {
        fs::read_to_string(root().join("deploy/compose").join(path)).unwrap()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
