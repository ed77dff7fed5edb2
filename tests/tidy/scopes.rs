//! Scopes: each function of a store that acts for somebody takes theirs first, and only `identity` makes one.

use super::product;

/// First arguments that carry the tenant of the actor, or of what they act on: a scope, an administrator with their
/// request, an entry of the audit log, or a job's row.
const WITH_A_TENANT: [&str; 5] = ["&Scope", "&AdminScope", "&Actor", "&NewEntry", "&Job"];

/// Functions without a scope, by table and name, with the reason. No name: all functions of the table.
const WITHOUT_A_SCOPE: [(&str, &str, &str); 29] = [
    ("TenantTable", "", "the operator's table: its rows are the tenants"),
    (
        "JobTable",
        "",
        "workers and operators have the jobs of all tenants, and each row names its own",
    ),
    ("SearchQueue", "index_waiting", "a queue of all tenants, by its own rows"),
    ("SearchQueue", "index_again", "a queue of all tenants, by its own rows"),
    ("SearchQueue", "search_backlog", "a queue of all tenants, by its own rows"),
    ("SearchQueue", "text_committed", "reads nothing"),
    ("Messages", "append", "a batch of all tenants: each draft names its sender"),
    ("Messages", "append_within", "a batch of all tenants: each draft names its sender"),
    ("Messages", "job_delay", "reads nothing"),
    ("Messages", "backfill_messages", "the hub's, for a room with its tenant"),
    ("Messages", "backfill_changes", "the hub's, for a room with its tenant"),
    ("Sessions", "heads", "the hub's, for rooms with their tenants"),
    ("Sessions", "members", "the hub's, for a room with its tenant"),
    ("Sessions", "views", "the inbox's, for each member of changed sessions"),
    ("Marks", "mark_delivered", "a batch of all tenants: each mark names its person"),
    ("Epochs", "epoch", "the installation has one epoch"),
    ("Epochs", "renew_epoch", "the installation has one epoch"),
    ("Retention", "forget_past_bodies", "removes what is too old, of all tenants"),
    ("UnreadTable", "count_earlier", "counts the sessions of an earlier version, of all tenants"),
    ("PushTable", "hasten", "a batch of all tenants: the node names the people who left"),
    ("PushTable", "jobs", "reads nothing"),
    ("PushTable", "adopt", "moves all jobs of the version before"),
    ("ParticipantTable", "complete", "each session comes with the person who sees it"),
    ("ParticipantTable", "seats", "sessions with their tenants, for functions of this table"),
    ("ParticipantTable", "members", "the hub's, for a room with its tenant"),
    ("BlockTable", "blocked", "a node holds the blocks of all tenants"),
    ("PeopleTable", "", "the server's own work: the node or the directory names the people"),
    ("UploadTable", "orphans", "the sweep reads what is too old, of all tenants"),
    ("UploadTable", "forget_uploads", "the sweep names the tenant of each picture"),
];

/// The file with a statement and without a table: a schedule that wakes the sessions of all tenants.
const WITHOUT_A_TABLE: &str = "crates/chat/src/snoozes.rs";

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
    let is_table = block.starts_with(&format!("{name} {{")) && name.ends_with("Table");
    (is_part || is_table).then_some(name)
}

/// Methods of a block: name, and type of the first argument after `&self`. A function without `self` is private to the
/// others.
fn methods(block: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for text in block.split(" fn ").skip(1) {
        let name = text.split(['(', '<']).next().unwrap();
        let signature = text.split(" {\n").next().unwrap().split(";\n").next().unwrap();
        if !signature.contains("self") {
            let before = block.split(&format!(" fn {name}")).next().unwrap();
            let is_public = before.lines().last().is_some_and(|line| line.contains("pub"));
            assert!(!is_public, "{name} takes no &self");
            continue;
        }
        let arguments = signature.split_once('(').unwrap().1.trim_start();
        let arguments = arguments.strip_prefix("&self");
        let arguments = arguments.unwrap_or_else(|| panic!("{name} takes no plain &self"));
        let arguments = arguments.trim_start_matches([',', ' ', '\n']);
        let first = arguments.split_once(": ").filter(|_| !arguments.starts_with(')'));
        let first = first.map_or("", |(_, typed)| typed);
        found.push((name, first.split([',', ')', '\n']).next().unwrap()));
    }
    found
}

#[test]
fn i15_a_function_of_a_store_takes_the_scope_first() {
    let mut seen = 0;
    let mut unused: Vec<_> = WITHOUT_A_SCOPE.iter().collect();
    for (file, code) in product() {
        let blocks = code.split("\nimpl ").skip(1).chain(code.split("\npub trait ").skip(1));
        for block in blocks {
            let Some(table) = table(&file, block) else { continue };
            for (name, first) in methods(block.split("\n}").next().unwrap()) {
                seen += 1;
                if WITH_A_TENANT.contains(&first) {
                    continue;
                }
                let is_it = |(of, function, _): &(&str, &str, &str)| {
                    *of == table && (function.is_empty() || *function == name)
                };
                assert!(
                    WITHOUT_A_SCOPE.iter().any(is_it),
                    "{file}: {table}::{name} takes {first:?} first, not a scope",
                );
                unused.retain(|entry| !is_it(entry));
            }
        }
    }
    assert!(seen > 60, "{seen} functions");
    assert!(unused.is_empty(), "not needed any more: {unused:?}");
}

#[test]
fn i15_statements_are_in_tables() {
    for (file, code) in product() {
        if code.contains("Statement::new(") && !file.starts_with("crates/db/src/text") {
            let is_table = |block: &str| table(&file, block).is_some();
            let has_table = code.split("\nimpl ").skip(1).any(is_table);
            assert_ne!(has_table, file == WITHOUT_A_TABLE, "{file}");
        }
    }
}

#[test]
fn i15_only_identity_makes_a_scope() {
    for (file, code) in product() {
        for way in ["Scope::new", "Scope as ", "for Scope"] {
            assert!(!code.contains(way) || MAKING.contains(&&*file), "{file} has {way}");
        }
    }
}

#[test]
fn the_first_argument_is_found_in_each_form() {
    let block = "Table {
    async fn one(&self) -> u8 {
    pub async fn two<T>(
        &self,
        me: &Scope,
        id: SessionId,
    ) -> u8 {
    pub(crate) fn three(&self, id: SessionId) -> impl Future<Output = ()> {
    fn new() -> Self {";
    assert_eq!(methods(block), [("one", ""), ("two", "&Scope"), ("three", "SessionId")]);
}
