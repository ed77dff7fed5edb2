//! Rules of the house that the compiler does not check.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Files that may start a task without the supervisor, with the reason.
const SPAWNING: [(&str, &str); 3] = [
    ("src/platform/tasks.rs", "the supervisor itself"),
    ("src/store/postgres/search.rs", "the caller awaits it, and a panic is the caller's error"),
    ("src/store/sqlite/search.rs", "a timer that its owner stops"),
];

/// Modules by floor, from the ground up, as in ARCHITECTURE.md.
const FLOORS: [&[&str]; 6] = [
    &["person", "session", "message", "platform", "traces", "openapi", "throttle"],
    &["wire", "error", "asyncapi"],
    &["bus", "cluster", "auth", "directory", "blocks", "audit", "images"],
    &[
        "commands",
        "hub",
        "store",
        "inbox",
        "receipts",
        "presence",
        "memory",
        "indexer",
        "retention",
    ],
    &["connection", "http", "peers", "limits", "push"],
    &[
        "main",
        "lib",
        "command_line",
        "config",
        "app",
        "router",
        "serve",
        "embedded",
        "metrics",
        "fuzz",
    ],
];

/// Imports that still go up. The list only gets shorter.
const UPWARD: [(&str, &str); 29] = [
    ("audit", "limits"),
    ("blocks", "hub"),
    ("blocks", "store"),
    ("commands", "app"),
    ("commands", "connection"),
    ("commands", "limits"),
    ("connection", "app"),
    ("directory", "store"),
    ("error", "auth"),
    ("error", "directory"),
    ("error", "images"),
    ("error", "store"),
    ("http", "app"),
    ("hub", "connection"),
    ("images", "app"),
    ("images", "embedded"),
    ("images", "store"),
    ("memory", "limits"),
    ("openapi", "app"),
    ("openapi", "error"),
    ("openapi", "http"),
    ("openapi", "router"),
    ("peers", "app"),
    ("presence", "connection"),
    ("wire", "auth"),
    ("wire", "bus"),
    ("wire", "commands"),
    ("wire", "images"),
    ("wire", "store"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below this folder, without unit tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" && name != "contract" {
            sources(&path, found);
        } else if path.extension() == Some(OsStr::new("rs"))
            && !["tests.rs", "contract.rs", "fuzz.rs"].contains(&name)
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

/// Files of the product, by their path in the repository, with their code: no comments, and no unit tests at
/// the end.
fn product() -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    assert!(files.len() > 100);
    let code = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let end = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(crate) mod tests {"]
            .iter()
            .filter_map(|tests| text.find(tests))
            .min();
        let code = text.split_at(end.unwrap_or(text.len())).0;
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code = code.lines().filter(is_code).collect::<Vec<_>>().join("\n");
        (path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), code)
    };
    files.into_iter().map(code).collect()
}

/// Modules of this crate that a file's code names.
fn imports(code: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = code.split_at(at + marker.len()).1;
        let Some(group) = rest.strip_prefix('{') else {
            found.extend(name(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                letter if begins && letter.is_alphabetic() => {
                    found.extend(name(group.split_at(at).1));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// The name at the beginning of a path.
fn name(path: &str) -> Option<&str> {
    path.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn i18_imports_go_down_the_floors() {
    let mut upward = BTreeSet::new();
    let product = product();
    for (path, code) in &product {
        let module = path.strip_prefix("src/").and_then(name).unwrap();
        let own = floor(module).unwrap_or_else(|| panic!("{module} has no floor in tests/tidy.rs"));
        let above = imports(code).into_iter().filter(|to| floor(to).is_some_and(|to| to > own));
        upward.extend(above.map(|to| (module, to)));
    }
    let known = BTreeSet::from(UPWARD);
    let new: Vec<_> = upward.difference(&known).collect();
    assert!(new.is_empty(), "imports that go up (see ARCHITECTURE.md): {new:?}");
    let gone: Vec<_> = known.difference(&upward).collect();
    assert!(gone.is_empty(), "these go up no more, so delete them from UPWARD: {gone:?}");
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
    let guide = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let is_path = |text: &&str| {
        text.contains('/') && !text.contains([' ', '{', '<']) && !text.starts_with(['/', '.'])
    };
    let missing: Vec<_> = quoted(&map)
        .chain(quoted(&guide))
        .filter(is_path)
        .filter(|path| !root.join(path).exists())
        .collect();
    assert!(missing.is_empty(), "the map or the guide names files that do not exist: {missing:?}");
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
        let column = law.rsplit('|').nth(1).unwrap();
        for part in quoted(column).filter(|part| part.ends_with('_') && part.len() > 1) {
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
    let product = product();
    let spawning = product.iter().filter(|(_, code)| code.contains("tokio::spawn("));
    let spawning: BTreeSet<_> = spawning.map(|(path, _)| path.as_str()).collect();
    let allowed = BTreeSet::from(SPAWNING.map(|(file, _)| file));
    assert_eq!(spawning, allowed, "start background tasks by `Tasks` (src/platform/tasks.rs)");
}
