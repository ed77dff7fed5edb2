//! Tests of the checker: it objects to every history that breaks a promise, and to no other.

use std::time::Duration;

use crate::{
    checker::{Violation, check},
    history::{Entry, Fact, History, Told},
};

const SESSION: &str = "s";

/// Indexes of the devices of the patient, the dentist and a stranger.
const PATIENT: usize = 0;
const DENTIST: usize = 1;
const STRANGER: usize = 2;

fn told(seq: u64) -> Told {
    Told {
        session: SESSION.into(),
        seq,
        id: format!("id-{seq}"),
        key: format!("key-{seq}"),
        rev: 0,
        body: format!("body {seq}"),
    }
}

fn at(millis: u64, device: usize, fact: Fact) -> Entry {
    Entry { at: Duration::from_millis(millis), device, fact }
}

fn joined(after: u64) -> Fact {
    Fact::Joined { session: SESSION.into(), after }
}

fn tried(seq: u64) -> Fact {
    Fact::Tried { session: SESSION.into(), key: told(seq).key }
}

fn heard(seq: u64) -> Fact {
    Fact::Heard(told(seq))
}

/// A history with three messages of the patient, which the dentist receives with a reconnection between
/// the second and the third.
fn good() -> History {
    let mut entries = vec![at(0, PATIENT, joined(0)), at(1, DENTIST, joined(0))];
    for seq in 1..=3 {
        let now = seq * 1_000;
        entries.push(at(now, PATIENT, tried(seq)));
        entries.push(at(now + 10, PATIENT, Fact::Acknowledged(told(seq))));
        entries.push(at(now + 20, DENTIST, heard(seq)));
        if seq == 2 {
            entries.push(at(2_500, DENTIST, Fact::Gone));
            entries.push(at(2_600, DENTIST, joined(2)));
        }
    }
    entries.push(at(60_000, PATIENT, Fact::Gone));
    History {
        entries,
        devices: vec!["patient".into(), "dentist".into(), "stranger".into()],
        members: [(SESSION.to_owned(), vec!["patient".into(), "dentist".into()])].into(),
        stored: (1..=3).map(told).collect(),
        troubles: Vec::new(),
    }
}

/// Violations that the checker finds in a changed history.
fn found(change: impl FnOnce(&mut History)) -> Vec<Violation> {
    let mut history = good();
    change(&mut history);
    check(&history).0
}

/// Index of the entry where the dentist receives the message with this `seq`.
fn hearing(history: &History, seq: u64) -> usize {
    let entries = history.entries.iter();
    let mut entries = entries.enumerate();
    let is = |entry: &Entry| matches!(&entry.fact, Fact::Heard(told) if told.seq == seq);
    entries.find(|(_, entry)| is(entry)).unwrap().0
}

#[test]
fn a_history_that_keeps_the_promises_is_not_objected_to() {
    assert_eq!(found(|_| {}), []);
    assert_eq!(check(&good()).1, Duration::from_millis(10), "delay of the slowest message");
}

#[test]
fn what_was_acknowledged_and_is_not_stored_is_lost() {
    let found = found(|history| drop(history.stored.pop()));
    assert!(found.contains(&Violation::Lost { key: "key-3".into(), seq: 3 }), "{found:?}");
}

#[test]
fn what_is_stored_otherwise_than_it_was_told_is_altered() {
    for change in [
        |told: &mut Told| told.id = "another".into(),
        |told: &mut Told| told.body = "another".into(),
    ] {
        let found = found(|history| change(&mut history.stored[1]));
        for device in [PATIENT, DENTIST] {
            assert!(found.contains(&Violation::Altered { device, seq: 2 }), "{found:?}");
        }
    }
}

/// The second message after an edit.
fn edited(rev: u64, body: &str) -> Told {
    Told { rev, body: body.into(), ..told(2) }
}

#[test]
fn a_version_that_was_seen_last_must_be_the_last_one() {
    let stale = Violation::Stale { device: DENTIST, seq: 2 };
    let change = |seen: &[Told]| {
        found(|history| {
            history.stored[1] = edited(9, "latest");
            history.entries.push(at(50_000, PATIENT, Fact::Updated(edited(9, "latest"))));
            for told in seen {
                history.entries.push(at(50_000, DENTIST, Fact::Updated(told.clone())));
            }
        })
    };
    assert_eq!(change(&[edited(9, "latest")]), []);
    assert_eq!(
        change(&[edited(9, "latest"), edited(4, "older")]),
        [],
        "the highest version counts"
    );
    assert_eq!(change(&[]), std::slice::from_ref(&stale));
    assert_eq!(change(&[edited(4, "older")]), [stale]);
    let altered = Violation::Altered { device: DENTIST, seq: 2 };
    assert_eq!(change(&[edited(9, "another")]), std::slice::from_ref(&altered));
    assert_eq!(
        change(&[edited(9, "latest"), edited(10, "lost")]),
        [altered],
        "the last version is not stored"
    );
}

#[test]
fn a_retry_that_is_given_another_number_is_found() {
    let found = found(|history| {
        history.entries.push(at(60_000, PATIENT, tried(1)));
        let again = Told { seq: 4, ..told(1) };
        history.entries.push(at(60_001, PATIENT, Fact::Acknowledged(again)));
    });
    assert!(found.contains(&Violation::Altered { device: PATIENT, seq: 4 }), "{found:?}");
}

#[test]
fn a_key_with_two_rows_is_doubled() {
    let found = found(|history| history.stored.push(Told { seq: 4, ..told(1) }));
    assert!(found.contains(&Violation::Doubled { key: "key-1".into() }), "{found:?}");
}

#[test]
fn numbers_with_a_gap_or_a_repetition_are_found() {
    let misnumbered = |seq| Violation::Misnumbered { session: SESSION.into(), seq };
    let with_a_gap = found(|history| history.stored[2].seq = 4);
    assert!(with_a_gap.contains(&misnumbered(4)), "{with_a_gap:?}");
    let repeated = found(|history| history.stored[2].seq = 2);
    assert!(repeated.contains(&misnumbered(2)), "{repeated:?}");
}

#[test]
fn what_no_member_sent_is_forged() {
    let found = found(|history| {
        history.stored.push(told(4));
        history.entries.push(at(50_000, DENTIST, heard(4)));
    });
    assert!(found.contains(&Violation::Forged { key: "key-4".into() }), "{found:?}");
}

#[test]
fn a_send_that_is_refused_or_never_answered_is_found() {
    let refused = found(|history| {
        history.entries.push(at(50_000, PATIENT, tried(4)));
        let (key, code) = ("key-4".to_owned(), "validation_failed".to_owned());
        history.entries.push(at(50_001, PATIENT, Fact::Refused { key, code }));
    });
    assert!(matches!(&refused[..], [Violation::Refused { .. }]), "{refused:?}");
    let unanswered = found(|history| history.entries.push(at(50_000, PATIENT, tried(4))));
    assert_eq!(unanswered, [Violation::Unanswered { key: "key-4".into() }]);
}

#[test]
fn what_comes_twice_or_behind_a_later_one_is_out_of_order() {
    let twice = found(|history| history.entries.push(at(50_000, DENTIST, heard(3))));
    let violation = Violation::OutOfOrder { device: DENTIST, seq: 3, behind: 3 };
    assert_eq!(twice, [violation]);
    let swapped = found(|history| {
        let (first, second) = (hearing(history, 1), hearing(history, 2));
        history.entries[first].fact = heard(2);
        history.entries[second].fact = heard(1);
    });
    let violation = Violation::OutOfOrder { device: DENTIST, seq: 1, behind: 2 };
    assert!(swapped.contains(&violation), "{swapped:?}");
    let again = found(|history| {
        let third = hearing(history, 3);
        history.entries.insert(third, at(2_700, DENTIST, heard(2)));
    });
    let violation = Violation::OutOfOrder { device: DENTIST, seq: 2, behind: 2 };
    assert_eq!(again, [violation], "its join named that message as read");
}

#[test]
fn a_gap_is_found_even_if_it_is_filled_in_later() {
    let found = found(|history| {
        let first = hearing(history, 1);
        history.entries.remove(first);
        let gone = history.entries.iter().position(|entry| matches!(entry.fact, Fact::Gone));
        history.entries.insert(gone.unwrap() + 1, at(2_550, DENTIST, joined(0)));
        history.entries.insert(gone.unwrap() + 2, at(2_560, DENTIST, heard(1)));
    });
    assert!(found.contains(&Violation::Skipped { device: DENTIST, seq: 1 }), "{found:?}");
}

#[test]
fn a_member_who_never_saw_a_message_is_found() {
    let found = found(|history| {
        let third = hearing(history, 3);
        history.entries.remove(third);
        history.entries.push(at(3_500, DENTIST, Fact::Gone));
    });
    assert_eq!(found, [Violation::Unseen { device: DENTIST, seq: 3 }]);
}

#[test]
fn who_is_connected_and_waits_for_too_long_is_found_unless_there_was_trouble() {
    let late = |history: &mut History| {
        let third = hearing(history, 3);
        let mut entry = history.entries.remove(third);
        entry.at = Duration::from_secs(12);
        let last = history.entries.len() - 1;
        history.entries.insert(last, entry);
    };
    let by = Duration::from_millis(12_000 - 3_010 - 7_000);
    assert_eq!(found(late), [Violation::Late { device: DENTIST, seq: 3, by }]);
    let troubled = found(|history| {
        late(history);
        history.troubles.push((Duration::from_secs(2), Duration::from_secs(6)));
    });
    assert_eq!(troubled, []);
    let long_before = found(|history| {
        late(history);
        history.troubles.push((Duration::from_secs(1), Duration::from_secs(2)));
    });
    assert_eq!(long_before.len(), 1, "trouble that ended before is no excuse");
}

#[test]
fn who_waits_for_too_long_for_a_change_is_found() {
    let change = |heard_at: u64| {
        found(|history| {
            history.stored[1] = edited(9, "latest");
            let last = history.entries.len() - 1;
            history.entries.insert(last, at(heard_at, DENTIST, Fact::Updated(edited(9, "latest"))));
            let amended = at(20_000, PATIENT, Fact::Amended(edited(9, "latest")));
            history.entries.insert(last, amended);
        })
    };
    assert_eq!(change(26_000), []);
    let by = Duration::from_secs(50 - 20 - 7);
    assert_eq!(change(50_000), [Violation::Late { device: DENTIST, seq: 2, by }]);
}

#[test]
fn a_change_that_is_answered_again_is_not_late_for_someone_who_has_it() {
    let again = |rev: u64| {
        found(|history| {
            history.stored[1] = edited(rev, "latest");
            let gone = history.entries.iter().position(|entry| matches!(entry.fact, Fact::Gone));
            let gone = gone.unwrap();
            let before = history.entries[gone].at;
            let mut received = at(0, DENTIST, Fact::Updated(edited(1, "latest")));
            received.at = before;
            history.entries.insert(gone, received);
            let last = history.entries.len() - 1;
            history.entries.insert(last, at(20_000, PATIENT, Fact::Amended(edited(rev, "latest"))));
        })
    };
    assert_eq!(again(1), []);
    assert!(!again(2).is_empty(), "a later version is another");
}

#[test]
fn a_stranger_who_hears_or_joins_is_found() {
    let leaked = Violation::Leaked { device: STRANGER, session: SESSION.into() };
    let hears = found(|history| history.entries.push(at(50_000, STRANGER, heard(1))));
    assert!(hears.contains(&leaked), "{hears:?}");
    let joins = found(|history| history.entries.push(at(50_000, STRANGER, joined(3))));
    assert!(joins.contains(&leaked), "{joins:?}");
}

#[test]
fn ones_own_messages_may_be_acknowledged_behind_those_of_others() {
    let found = found(|history| {
        // The dentist sends message 4, receives message 5 first, and then the acknowledgement of 4.
        history.stored.extend([told(4), told(5)]);
        history.entries.push(at(50_000, DENTIST, tried(4)));
        history.entries.push(at(50_001, PATIENT, tried(5)));
        history.entries.push(at(50_002, DENTIST, heard(5)));
        history.entries.push(at(50_003, DENTIST, Fact::Acknowledged(told(4))));
        history.entries.push(at(50_004, PATIENT, Fact::Acknowledged(told(5))));
        let last = history.entries.iter().position(|entry| entry.at.as_secs() == 60).unwrap();
        let mut gone = history.entries.remove(last);
        history.entries.push(at(50_005, PATIENT, heard(4)));
        gone.at = Duration::from_secs(61);
        history.entries.push(gone);
    });
    assert_eq!(found, []);
}
