//! Generates `docs/catalogue.md`: the rows of `tests/catalogue.md`, each with the tests that have it in
//! their names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

/// The rows: fault and expectation.
const ROWS: &str = "tests/catalogue.md";
/// The generated page.
const PAGE: &str = "docs/catalogue.md";
/// Command that writes the page.
const UPDATE: &str = "UPDATE_DOCS=1 cargo test --test catalogue";

/// Names of the tests of each row, by file. A row is a key in lower case.
type Tests = BTreeMap<String, BTreeMap<PathBuf, BTreeSet<String>>>;

fn tests() -> Tests {
    let mut tests = Tests::new();
    for folder in ["src", "crates", "tests", "rooms"] {
        for file in sources(Path::new(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            for rest in text.split("fn ").skip(1) {
                let Some((name, _)) = rest.split_once('(') else { continue };
                for row in name.split('_').filter(|part| is_row(part)) {
                    let of_row = tests.entry(row.to_owned()).or_default();
                    of_row.entry(file.clone()).or_default().insert(name.to_owned());
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

/// Key of a line of a table, in lower case; `None` for another line.
fn row_of(line: &str) -> Option<String> {
    let (row, _) = line.strip_prefix("| ")?.split_once(" | ")?;
    Some(row.to_lowercase()).filter(|row| is_row(row))
}

/// The page: each table gets a column with the tests.
fn page(rows: &str, tests: &Tests) -> String {
    let lines = rows.lines().map(|line| {
        let column = match row_of(line) {
            Some(row) => format!(" {} |", cell(tests.get(&row))),
            None if line.starts_with("|-") => "---|".to_owned(),
            None if line.starts_with('|') => " tests |".to_owned(),
            None => String::new(),
        };
        format!("{line}{column}\n")
    });
    lines.collect::<Vec<_>>().concat()
}

/// The tests of a row, by file.
fn cell(tests: Option<&BTreeMap<PathBuf, BTreeSet<String>>>) -> String {
    let files = tests.into_iter().flatten().map(|(file, names)| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        format!("`{}`: {}", file.display(), names.join(", "))
    });
    files.collect::<Vec<_>>().join("; ")
}

/// Differences between the rows and the tests.
fn faults(rows: &str, tests: &Tests) -> Vec<String> {
    let rows: Vec<_> = rows.lines().filter_map(row_of).collect();
    let mut faults = Vec::new();
    for table in ["f", "b", "c"] {
        let count = rows.iter().filter(|row| row.starts_with(table)).count();
        let numbered = (1..=count).map(|number| format!("{table}{number}"));
        if !numbered.eq(rows.iter().filter(|row| row.starts_with(table)).cloned()) {
            faults.push(format!("{ROWS}: the rows {}1, … are not in order", table.to_uppercase()));
        }
    }
    let untested = rows.iter().filter(|row| !tests.contains_key(*row));
    faults.extend(
        untested.map(|row| format!("{ROWS}: {}: no test has this row", row.to_uppercase())),
    );
    for (row, files) in tests.iter().filter(|(row, _)| !rows.contains(*row)) {
        faults.push(format!("{ROWS}: there is no row {}: {files:?}", row.to_uppercase()));
    }
    faults
}

#[test]
fn every_row_of_the_catalogue_has_its_tests() {
    let tests = tests();
    let rows = fs::read_to_string(ROWS).unwrap();
    let faults = faults(&rows, &tests);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let page = page(&rows, &tests);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, &page).unwrap();
    }
    let written = fs::read_to_string(PAGE).unwrap();
    let stale: Vec<_> = page.lines().filter(|line| !written.contains(line)).collect();
    assert!(
        page == written,
        "{PAGE} is out of date. Run `{UPDATE}`. New lines:\n{}",
        stale.join("\n")
    );
}
