//! Statements of SQL: each binds the tenant, and each check of membership reads those who take part.

use std::collections::BTreeSet;

use super::{product, root};

/// Texts between quotes, without those in raw strings.
fn literals(code: &str) -> Vec<String> {
    let (mut literals, mut current) = (Vec::new(), None::<String>);
    let mut chars = code.chars().peekable();
    let mut before = ' ';
    while let Some(char) = chars.next() {
        match (&mut current, char) {
            // A quote as a character.
            (None, '"') if before == '\'' && chars.peek() == Some(&'\'') => {}
            (None, '"') => current = Some(String::new()),
            (Some(_), '"') => literals.extend(current.take()),
            (Some(text), '\\') => text.extend(chars.next().filter(|next| *next != '\n')),
            (Some(text), char) => text.push(char),
            (None, _) => {}
        }
        before = char;
    }
    literals
}

/// Statements that work for all tenants at once, by file and beginning, with the reason.
const OF_ALL_TENANTS: [(&str, &str, &str); 11] = [
    ("epoch.rs", "update epoch", "the installation has one epoch"),
    ("directory/mysql", "", "the legacy directory is the main tenant's"),
    ("search_queue.rs", "", "the queue of texts to index, by its own rows"),
    ("retention.rs", "", "removes what is too old"),
    ("crates/db/src/jobs.rs", "select queue, state, count(*)", "counts for metrics"),
    (
        "crates/db/src/jobs.rs",
        "update jobs set state = 'taken', attempts = 0",
        "an operator's replay",
    ),
    ("crates/db/src/jobs.rs", "delete from jobs where (cast", "an operator's removal"),
    ("crates/chat/src/pushes.rs", "delete from push_jobs", "moves all jobs of the version before"),
    ("crates/media/src/uploads.rs", "select session_id, key", "the sweep reads what is too old"),
    (
        "crates/media/src/uploads.rs",
        "update uploads set remove_at",
        "the sweep, by what it has read",
    ),
    ("crates/media/src/uploads.rs", "delete from uploads", "the sweep, by what it has read"),
];

/// Tables with a tenant, by the migrations.
fn tables_of_tenants() -> BTreeSet<String> {
    let mut tables = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("migrations/postgres")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for statement in text.split(';') {
            let words: Vec<_> = statement.split_whitespace().collect();
            let after = |verb: &str| {
                let at = words.windows(2).position(|two| two == [verb, "table"])?;
                words.get(at + 2).map(|name| (*name).to_owned())
            };
            if words.contains(&"tenant_id") {
                tables.extend(after("create").or_else(|| after("alter")));
            }
        }
    }
    tables
}

#[test]
fn i15_a_statement_binds_the_tenant() {
    let tables = tables_of_tenants();
    assert!(tables.contains("messages") && tables.contains("jobs"), "{tables:?}");
    let ids = ["person_id = ", "sender_id = ", "customer_id = ", "actor_id = ", "user_id = "]
        .into_iter()
        .chain(["session_id = ", ".id = ", "where id = ", "where key = "]);
    let is_chosen = |sql: &str, column: &str| {
        sql.split(column).skip(1).any(|value| value.starts_with(['$', '?']))
    };
    let is_of_tenants = |sql: &str| {
        let words: Vec<_> = sql.split([' ', '(']).filter(|word| !word.is_empty()).collect();
        words.windows(2).any(|two| {
            ["from", "into", "join", "update"].contains(&two[0]) && tables.contains(two[1])
        })
    };
    let (mut checked, mut unbound, mut used) = (0, Vec::new(), BTreeSet::new());
    for (path, code) in product() {
        for sql in literals(&code) {
            let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            let begins = ["select ", "insert ", "update ", "delete ", "with "];
            let is_statement =
                is_of_tenants(&sql) && begins.iter().any(|verb| sql.starts_with(verb));
            // A part of a text, such as a condition, may choose rows too.
            let is_part = ids.clone().any(|column| is_chosen(&sql, column));
            if !is_statement && !is_part {
                continue;
            }
            checked += 1;
            let exempt = OF_ALL_TENANTS
                .iter()
                .position(|(file, start, _)| path.contains(file) && sql.starts_with(start));
            if !sql.contains("tenant") {
                match exempt {
                    Some(exempt) => drop(used.insert(exempt)),
                    None => unbound.push(format!("{path}: {sql}")),
                }
            }
        }
    }
    assert!(checked > 90, "{checked}");
    assert!(unbound.is_empty(), "statements without a tenant: {unbound:#?}");
    assert_eq!(used.len(), OF_ALL_TENANTS.len(), "an exemption that nothing needs: {used:?}");
}

/// A person who takes part no longer keeps a row in `members`, which names the sender of their messages.
#[test]
fn a_person_is_looked_up_among_those_who_take_part() {
    let mut checked = 0;
    for (path, code) in product() {
        for sql in literals(&code) {
            assert!(!sql.contains("members me"), "{path} reads former participants: {sql}");
            checked += usize::from(sql.contains("participants me"));
        }
    }
    assert!(checked > 15, "{checked}");
}
