//! Compares `docs/catalogue.md` with the sources: each fault, bad input and cost has tests that name
//! it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Rows of the third table that have tests.
const COSTS: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// File and name of the tests of each row.
fn tests() -> BTreeMap<String, BTreeSet<(PathBuf, String)>> {
    let mut tests = BTreeMap::<_, BTreeSet<_>>::new();
    for folder in ["src", "tests", "rooms"] {
        for file in sources(Path::new(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            for rest in text.split("fn ").skip(1) {
                let Some((name, _)) = rest.split_once('(') else { continue };
                for row in name.split('_').filter(|part| is_row(part)) {
                    tests
                        .entry(row.to_owned())
                        .or_default()
                        .insert((file.clone(), name.to_owned()));
                }
            }
        }
    }
    tests
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| !path.ends_with("target") && !path.ends_with("clients"))
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn is_row(part: &str) -> bool {
    part.strip_prefix(['f', 'b', 'c']).is_some_and(|number| number.parse::<u8>().is_ok())
}

#[test]
fn every_row_of_the_catalogue_has_its_tests() {
    let tests = tests();
    let table = fs::read_to_string("docs/catalogue.md").unwrap();
    let rows: BTreeMap<&str, &str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .filter(|(row, _)| is_row(&row.to_lowercase()))
        .collect();
    let faults = (1..=32).map(|n| format!("F{n}"));
    let bad_input = (1..=57).map(|n| format!("B{n}"));
    let costs = COSTS.map(|n| format!("C{n}"));
    let numbers = faults.chain(bad_input).chain(costs);
    let mut wrong = Vec::new();
    for row in numbers {
        let known = tests.get(&row.to_lowercase());
        if known.is_none() {
            wrong.push(format!("{row}: no test names it"));
        }
        let Some(line) = rows.get(row.as_str()) else {
            wrong.push(format!("{row}: it is not in docs/catalogue.md"));
            continue;
        };
        let cell = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in known.into_iter().flatten().map(|(_, name)| name) {
            if !cell.contains(&format!("`{name}`")) {
                wrong.push(format!("{row}: docs/catalogue.md does not name {name}"));
            }
        }
        let mut file = PathBuf::new();
        for name in cell.split('`').skip(1).step_by(2) {
            if name.contains('/') {
                file = name.into();
            } else if !known.is_some_and(|known| known.contains(&(file.clone(), name.to_owned()))) {
                wrong.push(format!("{row}: there is no test {name} in {}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
