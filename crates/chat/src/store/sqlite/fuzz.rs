//! Searches: properties that hold for every typed text.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a finding is a panic")]

use std::{
    path::Path,
    str::from_utf8,
    sync::{LazyLock, Mutex, PoisonError},
};

use rusqlite::{Connection, params};

use super::{search, search_queue};
use crate::store::search::{matcher::Matcher, terms::Terms};
use db::sqlite::{connect, migrate};
use model::{
    ids::TenantId,
    person::{Person, Side},
    scope::{Grants, Scope},
};

const SESSION: &str = "0193c3a0-0000-7000-8000-000000000001";
const TEXT: &str = "My tooth aches: \"Zahnweh\" or gum NOT crown* body:x NEAR(a b) 7½ 牙痛 a\u{301} 치과에서 +49 170-12345";

static DATABASE: LazyLock<Mutex<Connection>> = LazyLock::new(|| {
    let mut db = connect(Path::new(":memory:")).expect("a database");
    migrate(&mut db).expect("its tables");
    let tables = format!(
        "insert into sessions (id, customer_id, dentist_id, last_seq, created_at, active_at)
           values ('{SESSION}', 'ada', '7', 0, 1763000000000000, 1763000000000000);
         insert into members (session_id, kind, person_id, name)
           values ('{SESSION}', 'customer', 'ada', 'Ada'), ('{SESSION}', 'dentist', '7', 'Dana');"
    );
    db.execute_batch(&tables).expect("a session");
    for seq in 1..=3 {
        let id = format!("0193c3a0-0000-7000-8000-0000000001{seq:02}");
        db.execute(
            "insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, body, \
             created_at, search_rev) \
             values (?1, ?2, ?3, 'customer', 'ada', ?2, 'text', ?4, 1763000000000000, 0)",
            params![SESSION, seq, id, TEXT],
        )
        .expect("a message");
    }
    search_queue::write(&mut db, search_queue::SEARCH_QUEUE, 3, &mut Vec::new())
        .expect("its index");
    Mutex::new(db)
});

/// Any text in a search box is searched for, and never causes an error.
pub fn searches(bytes: &[u8]) {
    let Ok(typed) = from_utf8(bytes) else { return };
    // The handler rejects everything else.
    if typed.contains('\0') || typed.chars().count() > 200 {
        return;
    }
    let Some(terms) = Terms::parse(typed) else { return };
    let mut db = DATABASE.lock().unwrap_or_else(PoisonError::into_inner);
    let me = |id: &str| {
        let person = Person::new(TenantId::MAIN, Side::Contact, id.parse().expect("an id"));
        Scope::new(person, Grants::default())
    };
    let hits = search::search(&mut db, &me("ada"), &terms, 0, 2).expect("a search");
    assert!(hits.found.len() <= 2);
    // The index and our own matcher agree. For other letters they may use different versions of
    // Unicode.
    if typed.chars().all(|char| char.is_ascii() || TEXT.contains(char)) {
        let is_match = Matcher::new(&terms).is_match(TEXT);
        assert_eq!(hits.found.len(), if is_match { 2 } else { 0 }, "{typed}");
    }
    for found in hits.found {
        let snippet: String = found.snippet.iter().map(|piece| piece.text.as_str()).collect();
        assert!(TEXT.contains(&snippet));
    }
    let nothing = search::search(&mut db, &me("eve"), &terms, 0, 2).expect("a search");
    assert!(nothing.found.is_empty() && !nothing.more);
}
