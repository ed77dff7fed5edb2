//! Rules of the house that the compiler does not check.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Files that may start a task without the supervisor, with the reason.
const SPAWNING: [(&str, &str); 3] = [
    ("src/platform/tasks.rs", "the supervisor itself"),
    ("src/store/postgres/search.rs", "the caller awaits it, and a panic is the caller's error"),
    ("src/store/sqlite/search.rs", "a timer that its owner stops"),
];

/// All Rust files below this folder, without unit tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" && name != "contract" {
            sources(&path, found);
        } else if path.extension() == Some(OsStr::new("rs"))
            && !["tests.rs", "contract.rs"].contains(&name)
        {
            found.push(path);
        }
    }
}

/// All Rust files below this folder.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension() == Some(OsStr::new("rs")) {
            found.push(path);
        }
    }
}

/// Text of a file without the unit tests at its end.
fn product(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text.split_at(end).0.to_owned()
}

/// The parts of a text in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_map_is_short_and_names_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    assert!(map.split_whitespace().count() <= 1_500, "ARCHITECTURE.md has over 1,500 words");
    let long: Vec<_> = map.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "lines of ARCHITECTURE.md over 100 columns: {long:#?}");
    let is_path = |text: &&str| text.contains('/') && !text.contains([' ', '{']);
    let missing: Vec<_> =
        quoted(&map).filter(is_path).filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names files that do not exist: {missing:?}");
}

#[test]
fn each_law_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let mut files = Vec::new();
    for folder in ["src", "rooms", "tests"] {
        rust_files(&root.join(folder), &mut files);
    }
    let texts: Vec<_> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let functions = || texts.iter().flat_map(|text| text.split("fn ").skip(1));
    let names: Vec<_> = functions().filter_map(|rest| rest.split('(').next()).collect();
    let laws: Vec<_> = map.lines().filter(|line| line.starts_with("| I")).collect();
    assert!(laws.len() >= 15);
    for law in laws {
        let tests = law.rsplit('|').nth(1).unwrap();
        for part in quoted(tests).filter(|part| part.ends_with('_') && part.len() > 1) {
            let found = names
                .iter()
                .any(|name| name.starts_with(part) || name.contains(&format!("_{part}")));
            assert!(found, "no test has {part} in its name: {law}");
        }
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for manifest in ["Cargo.toml", "rooms/Cargo.toml", "tests/support/Cargo.toml"] {
        let text = std::fs::read_to_string(root.join(manifest)).unwrap();
        let mut is_dependencies = false;
        let mut previous = "";
        for line in text.lines() {
            if line.starts_with('[') {
                is_dependencies = line.ends_with("dependencies]");
            } else if is_dependencies && line.contains(" = ") && !line.starts_with('#') {
                assert!(previous.starts_with("# "), "{manifest}: no reason above {line}");
            }
            previous = line;
        }
    }
}

#[test]
fn i19_only_the_supervisor_starts_tasks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    assert!(files.len() > 100);
    let mut spawning: Vec<_> = files
        .iter()
        .filter(|path| product(path).contains("tokio::spawn("))
        .map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned())
        .collect();
    spawning.sort();
    let mut allowed = SPAWNING.map(|(file, _)| file);
    allowed.sort_unstable();
    assert_eq!(spawning, allowed, "start background tasks by `Tasks` (src/platform/tasks.rs)");
}
