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

/// Text of a file without the unit tests at its end.
fn product(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text.split_at(end).0.to_owned()
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
