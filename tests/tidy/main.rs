//! Rules of the house that the compiler does not check.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod scopes;
mod statements;
mod wire_names;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Files that may start a task without the supervisor, with the reason.
const SPAWNING: [(&str, &str); 3] = [
    ("crates/platform/src/tasks.rs", "the supervisor itself"),
    (
        "crates/chat/src/store/postgres/search.rs",
        "the caller awaits it, and a panic is the caller's error",
    ),
    ("crates/chat/src/store/sqlite/search.rs", "a timer that its owner stops"),
];

/// Crates by floor, from the ground up, as in ARCHITECTURE.md.
const CRATES: [&[&str]; 6] = [
    &["model", "platform", "rooms"],
    &["db", "protocol"],
    &["bus", "identity", "media"],
    &["chat"],
    &["gateway", "integrations"],
    &["frontdesk"],
];

/// Crates that may depend on the other crates of their floor.
const READERS: [&str; 1] = ["integrations"];

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
    for folder in ["src", "crates", "rooms/src"] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 200);
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

/// The manifests of all crates of the product, by the crate's name in the code.
fn manifests() -> Vec<(String, String)> {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    let mut folders: Vec<_> = crates.map(|entry| entry.unwrap().path()).collect();
    folders.extend([root().join("rooms"), root().to_owned()]);
    let manifest = |folder: PathBuf| {
        let text = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let package = text.split("[package]\nname = \"").nth(1).unwrap().split('"').next().unwrap();
        (package.strip_prefix("frontdesk-").unwrap_or(package).to_owned(), text)
    };
    folders.into_iter().map(manifest).collect()
}

/// Names in a table of a manifest.
fn entries<'a>(manifest: &'a str, table: &str) -> impl Iterator<Item = &'a str> {
    let text = manifest.split(&format!("\n[{table}]\n")).nth(1).unwrap_or_default();
    let text = text.split("\n[").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['.', ' ']).next())
}

#[test]
fn i18_a_crate_depends_on_lower_floors_only() {
    let floor = |name: &str| CRATES.iter().position(|floor| floor.contains(&name));
    let manifests = manifests();
    assert_eq!(manifests.len(), CRATES.concat().len());
    for (name, manifest) in &manifests {
        let own = floor(name).unwrap_or_else(|| panic!("{name} has no floor in tests/tidy"));
        for dependency in entries(manifest, "dependencies") {
            let Some(below) = floor(dependency) else { continue };
            let is_lower = below < own || (below == own && READERS.contains(&name.as_str()));
            assert!(is_lower, "{name} (floor {own}) depends on {dependency} (floor {below})");
        }
    }
}

/// Circles between the modules of one crate that stay, with the reason.
const CIRCLES: [(&str, &str, &str); 1] =
    [("openapi", "router", "the document lists the routes, and its own route is one of them")];

/// Modules of the crate that the code of one file imports, by the first name of each path.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        let mut depth = 0;
        // The first name of each path: all of the text, or each part of an outer pair of braces.
        let mut is_first = true;
        let mut name = String::new();
        for char in path.chars() {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => is_first = true,
                char if char.is_alphanumeric() || char == '_' => {
                    if is_first {
                        name.push(char);
                    }
                    continue;
                }
                _ => {}
            }
            if !name.is_empty() {
                found.insert(std::mem::take(&mut name));
                is_first = depth == 1 && char == ',';
            }
            if depth <= 0 {
                break;
            }
        }
    }
    found
}

/// Modules reachable from this one.
fn reachable<'a>(
    graph: &'a BTreeMap<String, BTreeSet<String>>,
    from: &'a str,
) -> BTreeSet<&'a str> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for import in graph.get(module).into_iter().flatten() {
            if seen.insert(import.as_str()) {
                next.push(import);
            }
        }
    }
    seen
}

#[test]
fn i18_modules_of_a_crate_import_in_one_direction() {
    assert_eq!(
        imports("use crate::{a::{b, c}, d}; crate::e::f(); use crate::g;"),
        ["a", "d", "e", "g"].map(str::to_owned).into()
    );
    let mut crates: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (path, code) in product() {
        let (folder, file) = path.split_once("src/").unwrap();
        let module = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        if !["lib", "main"].contains(&module.as_str()) {
            let graph = crates.entry(folder.to_owned()).or_default();
            graph.entry(module).or_default().extend(imports(&code));
        }
    }
    assert!(crates.len() > 10);
    let mut circles = Vec::new();
    for (folder, graph) in &mut crates {
        for (module, imports) in &mut *graph {
            imports.retain(|import| import != module);
            let stays = |import: &String| {
                CIRCLES.iter().any(|(from, to, _)| from == module && to == import)
            };
            imports.retain(|import| !stays(import));
        }
        for module in
            graph.keys().filter(|module| reachable(graph, module).contains(module.as_str()))
        {
            circles.push(format!("{folder}src/{module}"));
        }
    }
    assert!(circles.is_empty(), "modules that import each other in a circle: {circles:?}");
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
        .filter(|path| !root.join(path).exists() && !root.join("crates").join(path).exists())
        .collect();
    assert!(missing.is_empty(), "the map or the guide names files that do not exist: {missing:?}");
}

#[test]
fn each_law_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let mut files = Vec::new();
    for folder in ["src", "crates", "rooms", "tests"] {
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
    let support = std::fs::read_to_string(root().join("tests/support/Cargo.toml")).unwrap();
    let support = ("tests/support".to_owned(), support);
    for (name, manifest) in manifests().into_iter().chain([support]) {
        let mut is_dependencies = false;
        let mut previous = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                is_dependencies = line.ends_with("dependencies]");
            } else if is_dependencies && line.contains(" = ") && !line.starts_with('#') {
                // The reason for an entry of the workspace's table is there.
                let is_elsewhere = line.contains("workspace = true") || line.contains("path = ");
                assert!(
                    is_elsewhere || previous.starts_with("# "),
                    "{name}: no reason above {line}"
                );
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
    assert_eq!(
        spawning, allowed,
        "start background tasks by `Tasks` (crates/platform/src/tasks.rs)"
    );
}
