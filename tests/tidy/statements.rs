//! Statements of SQL: each binds the tenant, and each check of membership reads those who take part.

use std::collections::BTreeSet;

use super::{product, root};

/// Texts between quotes, and the code around them. Raw strings are taken for others.
pub(super) fn literals(code: &str) -> (Vec<String>, String) {
    let (mut literals, mut around, mut current) = (Vec::new(), String::new(), None::<String>);
    let mut chars = code.chars().peekable();
    let mut before = ' ';
    while let Some(char) = chars.next() {
        match (&mut current, char) {
            // A quote as a character.
            (None, '"') if before == '\'' && chars.peek() == Some(&'\'') => around.push(char),
            (None, '"') => current = Some(String::new()),
            (Some(_), '"') => literals.extend(current.take()),
            (Some(text), '\\') => text.extend(chars.next().filter(|next| *next != '\n')),
            (Some(text), char) => text.push(char),
            (None, _) => around.push(char),
        }
        before = char;
    }
    (literals, around)
}

/// Statements that work for all tenants at once, by file and beginning, with the reason.
const OF_ALL_TENANTS: [(&str, &str, &str); 17] = [
    ("identity/src/blocks/table.rs", "select c.rev", "a node holds the blocks of all tenants"),
    ("identity/src/tenants/table.rs", "select cast(id", "the tenant itself"),
    ("identity/src/tenants/table.rs", "update tenants", "the tenant itself"),
    ("identity/src/tenants/table.rs", "select cast(tenant_id", "the rotation of all secrets"),
    ("crates/db/src/jobs.rs", "select id, cast(tenant_id", "an operator's list"),
    ("epoch.rs", "update epoch", "the installation has one epoch"),
    ("directory/mysql", "", "the legacy directory is the main tenant's"),
    ("search_queue.rs", "", "the queue of texts to index, by its own rows"),
    ("retention.rs", "", "removes what is too old"),
    ("unread.rs", "", "counts the sessions of an earlier version"),
    ("crates/db/src/jobs.rs", "select queue, state, count(*)", "counts for metrics"),
    (
        "crates/db/src/jobs.rs",
        "update jobs set state = 'taken', attempts = 0",
        "an operator's replay",
    ),
    ("crates/db/src/jobs.rs", "delete from jobs where (cast", "an operator's removal"),
    ("crates/chat/src/pushes.rs", "delete from push_jobs", "moves all jobs of the version before"),
    ("crates/media/src/uploads.rs", "select cast(tenant_id", "the sweep reads what is too old"),
    ("postgres/keys.rs", "select not exists", "whether anybody has used the database"),
    ("store/sql.rs", "from ", "a part: its condition is in another one"),
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
            if statement.contains("tenant_id") {
                let view = words.windows(2).position(|two| two == ["create", "view"]);
                let view = view.and_then(|at| words.get(at + 2)).map(|name| (*name).to_owned());
                tables.extend(after("create").or_else(|| after("alter")).or(view));
            }
        }
    }
    tables
}

/// Whether a statement compares the tenant, or writes it. To read it is not enough.
fn binds_tenant(sql: &str) -> bool {
    ["tenant_id = ", "tenant_id)", "(tenant_id, "].iter().any(|part| sql.contains(part))
}

/// Tables that a statement names without comparing the tenant of each: their keys begin with it, so that another tenant's
/// row would be read, or all rows.
fn unbound_tables(sql: &str, tables: &BTreeSet<String>) -> Vec<String> {
    let mut words = sql.split([' ', '(', ')', ',']).filter(|word| !word.is_empty());
    let mut unbound = Vec::new();
    while let Some(verb) = words.next() {
        let mut after = words.clone();
        let Some(table) = after.next() else { break };
        if !["from", "join", "into", "update"].contains(&verb) || !tables.contains(table) {
            continue;
        }
        let alias = after.find(|word| *word != "as");
        let alias = alias.filter(|alias| {
            let keywords = "where set on order using limit values select returning";
            alias.chars().all(|char| char.is_ascii_lowercase())
                && !keywords.split(' ').any(|keyword| keyword == *alias)
                && sql.contains(&format!("{alias}."))
        });
        let is_bound = match alias {
            Some(alias) => {
                let column = format!("{alias}.tenant_id");
                let used = format!("{alias} using (");
                // The alias is a whole word: `me.tenant_id` compares no `e.tenant_id`.
                sql.contains(&format!(" {column} = "))
                    || sql.contains(&format!("({column} = "))
                    || sql.contains(&format!("= {column}"))
                    || sql.contains(&format!("({column}, "))
                    || sql.split(&used).skip(1).any(|rest| {
                        rest.split(')').next().is_some_and(|columns| columns.contains("tenant_id"))
                    })
            }
            None => binds_tenant(sql),
        };
        if !is_bound {
            unbound.push(format!("{verb} {table}"));
        }
    }
    unbound
}

#[test]
fn i15_a_statement_binds_the_tenant() {
    for (sql, is_bound) in [
        ("select m.tenant_id, m.body from messages m where m.id = $1", false),
        ("select 1 from tenant_changes where session_id = $1", false),
        ("update uploads set refused = true where tenant_id = $2 and key = $1", true),
        ("insert into audit (tenant_id, id) values ($1, $2)", true),
    ] {
        assert_eq!(binds_tenant(sql), is_bound, "{sql}");
    }
    let tables = tables_of_tenants();
    let joined = "select from participants me join messages m on m.session_id = me.session_id \
        where me.tenant_id = $1";
    assert_eq!(unbound_tables(joined, &tables), ["join messages"]);
    let ending_alike = "select from participants me join message_edits e on e.session_id = me.session_id \
        where me.tenant_id = $1";
    assert_eq!(unbound_tables(ending_alike, &tables), ["join message_edits"]);
    for table in ["messages", "jobs", "participants"] {
        assert!(tables.contains(table), "{table}: {tables:?}");
    }
    let ids = ["person_id = ", "sender_id = ", "customer_id = ", "actor_id = ", "user_id = "]
        .into_iter()
        .chain(["session_id = ", ".id = ", "where id = ", "where key = ", "rowid = "]);
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
        for sql in literals(&code).0 {
            let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            let begins = ["select ", "insert ", "update ", "delete ", "with "];
            let is_statement =
                is_of_tenants(&sql) && begins.iter().any(|verb| sql.starts_with(verb));
            // A part of a text, such as a condition, may choose rows too.
            let is_part = ids.clone().any(|column| is_chosen(&sql, column));
            let tables = unbound_tables(&sql, &tables);
            if !is_statement && !is_part && tables.is_empty() {
                continue;
            }
            checked += 1;
            let exempt = OF_ALL_TENANTS
                .iter()
                .position(|(file, start, _)| path.contains(file) && sql.starts_with(start));
            if !tables.is_empty() || !binds_tenant(&sql) {
                match exempt {
                    Some(exempt) => drop(used.insert(exempt)),
                    None => unbound.push(format!("{path}: {tables:?} in {sql}")),
                }
            }
        }
    }
    assert!(checked > 90, "{checked}");
    assert!(unbound.is_empty(), "statements without a tenant: {unbound:#?}");
    assert_eq!(used.len(), OF_ALL_TENANTS.len(), "an exemption that nothing needs: {used:?}");
}

/// Uses of the table `members`, which has a row for everybody who has ever taken part, by the words behind its name
/// and file. Everything else reads `participants`.
const OF_FORMER_MEMBERS: [(&str, &str); 15] = [
    ("s on s.tenant_id = m.tenant_id + 0 and s.session_id = m.session_id", ""), // the sender's name
    ("other on other.tenant_id", "chat/src/store/sql.rs"),
    ("(tenant_id, session_id, kind, person_id, name, avatar_url", ""), // a new member
    ("m set ", ""), // after a check in the same statement
    ("set muted = ?4 where tenant_id", "sqlite/sessions.rs"),
    ("set read_seq = ?4 where tenant_id", "sqlite/marks.rs"),
    ("as m set delivered_seq", "sqlite/marks.rs"),
    ("m where m.tenant_id = i.tenant_id", "postgres/marks.rs"), // locks the row of one who takes part
    ("m on m.tenant_id = cast(substr(each.value, 37)", "participants.rs"),
    ("d on d.tenant_id = s.tenant_id", "participants.rs"),
    ("as m set read_messages", "unread.rs"),
    ("set left_at", "participants.rs"),
    ("set muted = true", "participants.rs"),
    ("set name", "people_table.rs"),
    ("where tenant_id = $5 and kind = $1 and person_id = $2 and (name", "people_table.rs"),
];

#[test]
fn membership_is_looked_up_among_those_who_take_part() {
    let (mut used, mut unknown) = (BTreeSet::new(), Vec::new());
    for (path, code) in product() {
        for sql in literals(&code).0 {
            let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            for verb in ["from members ", "join members ", "into members ", "update members "] {
                for rest in sql.split(verb).skip(1) {
                    let known = OF_FORMER_MEMBERS
                        .iter()
                        .position(|(words, file)| rest.starts_with(words) && path.contains(file));
                    match known {
                        Some(known) => drop(used.insert(known)),
                        None => unknown.push(format!("{path}: {verb}{rest}")),
                    }
                }
            }
        }
    }
    assert!(unknown.is_empty(), "former members count here: {unknown:#?}");
    assert_eq!(used.len(), OF_FORMER_MEMBERS.len(), "a use that nothing needs: {used:?}");
}
