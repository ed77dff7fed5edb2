//! Scopes: each function of a store that acts for somebody takes theirs first, and only `identity` makes one.

use super::product;

/// First arguments that carry the tenant of the actor, or of what they act on: a scope, an administrator with their
/// request, an entry of the audit log, sessions with their tenants, or a job's row.
const WITH_A_TENANT: [&str; 7] =
    ["&Scope", "&AdminScope", "&Actor", "&NewEntry", "SessionKey", "&[SessionKey]", "&Job"];

/// Functions without a scope, by table and name, with the reason. No name: all functions of the table.
const WITHOUT_A_SCOPE: [(&str, &str, &str); 20] = [
    ("TenantTable", "", "the operator's table: its rows are the tenants"),
    ("JobTable", "", "workers lease the jobs of all tenants, and each row names its own"),
    ("SearchQueue", "", "a queue of all tenants, by its own rows"),
    ("Messages", "append", "a batch of all tenants: each draft names its sender"),
    ("Messages", "append_within", "a batch of all tenants: each draft names its sender"),
    ("Marks", "mark_delivered", "a batch of all tenants: each mark names its person"),
    ("Epochs", "epoch", "the installation has one epoch"),
    ("Epochs", "renew_epoch", "the installation has one epoch"),
    ("Retention", "forget_past_bodies", "removes what is too old, of all tenants"),
    ("UnreadCounts", "count_earlier", "counts the sessions of an earlier version, of all tenants"),
    ("PushTable", "hasten", "a batch of all tenants: the node names the people who left"),
    ("PushTable", "adopt", "moves all jobs of the version before"),
    ("ParticipantTable", "complete", "each session comes with the person who sees it"),
    ("ParticipantTable", "seats", "sessions with their tenants"),
    ("BlockTable", "blocked", "a node holds the blocks of all tenants"),
    ("PeopleTable", "seen", "a batch of all tenants: the node names the people who left"),
    ("PeopleTable", "last_seen", "the presence of one person, read once for all who watch them"),
    ("PeopleTable", "rename", "the directory's name of one person, wherever they are a member"),
    ("UploadTable", "orphans", "the sweep reads what is too old, of all tenants"),
    ("UploadTable", "forget_uploads", "the sweep names the tenant of each picture"),
];

/// Files that may make a scope.
const MAKING: [&str; 3] = [
    "crates/model/src/scope.rs",
    "crates/identity/src/auth/cognito.rs",
    "crates/identity/src/auth/django.rs",
];

/// Name of the table, or of the part of the store, that the text after `impl ` or `trait ` begins with.
fn table<'a>(file: &str, block: &'a str) -> Option<&'a str> {
    let name = block.split([' ', ':']).next()?;
    let is_part = file.starts_with("crates/chat/src/store/")
        && file.matches('/').count() == 4
        && block.starts_with(&format!("{name}: Send"));
    let is_table = block.starts_with(&format!("{name} {{"))
        && (name.ends_with("Table") || name == "UnreadCounts");
    (is_part || is_table).then_some(name)
}

/// Async functions of a block: name, and type of the first argument after `&self`.
fn functions(block: &str) -> Vec<(&str, &str)> {
    let found = block.split("async fn ").skip(1).filter_map(|text| {
        let name = text.split(['(', '<']).next()?;
        let arguments = text.split_once("&self")?.1.trim_start_matches([',', ' ', '\n']);
        let first = arguments.split_once(':').map_or("", |(_, typed)| typed.trim_start());
        let first = if arguments.starts_with(')') { "" } else { first };
        Some((name, first.split([',', ')', '\n']).next().unwrap_or_default()))
    });
    found.collect()
}

#[test]
fn i15_a_function_of_a_store_takes_the_scope_first() {
    let mut seen = 0;
    let mut unused: Vec<_> = WITHOUT_A_SCOPE.iter().collect();
    for (file, code) in product() {
        let blocks = code.split("\nimpl ").skip(1).chain(code.split("\npub trait ").skip(1));
        for block in blocks {
            let Some(table) = table(&file, block) else { continue };
            let block = block.split("\n}").next().unwrap();
            for (name, first) in functions(block) {
                seen += 1;
                let is_it = |(of, function, _): &(&str, &str, &str)| {
                    *of == table && (function.is_empty() || *function == name)
                };
                assert!(
                    WITH_A_TENANT.contains(&first) || WITHOUT_A_SCOPE.iter().any(is_it),
                    "{file}: {table}::{name} takes {first:?} first, which is no scope",
                );
                unused.retain(|entry| !is_it(entry));
            }
        }
    }
    assert!(seen > 60, "{seen} functions");
    assert!(unused.is_empty(), "not needed any more: {unused:?}");
}

#[test]
fn i15_only_identity_makes_a_scope() {
    for (file, code) in product() {
        assert!(!code.contains("Scope::new(") || MAKING.contains(&&*file), "{file} makes a scope");
    }
}
