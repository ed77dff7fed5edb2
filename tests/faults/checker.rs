//! Says what of the promises was broken, from what the devices saw and what the database holds.
//!
//! It knows nothing of how the server works. The promises are the contract's: what is acknowledged is
//! stored, once; a session's messages are numbered 1, 2, 3 …; each member sees each once and in order,
//! whatever breaks meanwhile, and within 5 s where the database can be asked; nobody else sees any.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    time::Duration,
};

use crate::history::{Entry, Fact, History, Told};

/// How long anyone who is connected may wait for a message: the contract's 5 s, and 2 s for a machine
/// that has other things to do.
pub(crate) const DUE: Duration = Duration::from_secs(7);

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// It was acknowledged, and is not stored.
    Lost { key: String, seq: u64 },
    /// What a device was told of a message is not what is stored.
    Altered { device: usize, seq: u64 },
    /// One key has several rows.
    Doubled { key: String },
    /// The stored numbers leave one out, or have one twice.
    Misnumbered { session: String, seq: u64 },
    /// Something is stored that no member has sent.
    Forged { key: String },
    /// A send was refused for good.
    Refused { key: String, code: String },
    /// A send was never acknowledged, though everything was well in the end.
    Unanswered { key: String },
    /// A device was told of a message twice, or of a later one first, on one connection.
    OutOfOrder { device: usize, seq: u64, behind: u64 },
    /// A device was told of a message without the one before.
    Skipped { device: usize, seq: u64 },
    /// A member has not seen a message in the end.
    Unseen { device: usize, seq: u64 },
    /// A member has an old version of a message in the end.
    Stale { device: usize, seq: u64 },
    /// A device that was connected all the while waited for too long.
    Late { device: usize, seq: u64, by: Duration },
    /// Someone was told of a message in a session that isn't theirs.
    Leaked { device: usize, session: String },
}

impl Violation {
    /// The law that it breaks; `ARCHITECTURE.md` has them.
    pub(crate) fn law(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "I3, I13",
            Self::Altered { .. } | Self::Unanswered { .. } => "I3",
            Self::Doubled { .. } | Self::Misnumbered { .. } | Self::Refused { .. } => "I6",
            Self::OutOfOrder { .. } | Self::Late { .. } => "I7",
            Self::Skipped { .. } | Self::Unseen { .. } | Self::Stale { .. } => "I5, I7",
            Self::Forged { .. } | Self::Leaked { .. } => "promise 6",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?} (breaks {})", self.law())
    }
}

/// All that was broken, in the order of the list above; and how long the slowest message took.
pub(crate) fn check(history: &History) -> (Vec<Violation>, Duration) {
    let mut found = BTreeSet::new();
    stored(history, &mut found);
    sends(history, &mut found);
    let mut slowest = Duration::ZERO;
    for device in 0..history.devices.len() {
        let entries: Vec<&Entry> =
            history.entries.iter().filter(|entry| entry.device == device).collect();
        leaks(history, device, &entries, &mut found);
        reading(history, device, &entries, &mut found);
        slowest = slowest.max(waiting(history, device, &entries, &mut found));
    }
    (found.into_iter().collect(), slowest)
}

/// The numbers have no gaps, the keys are unique, and a member stands behind each.
fn stored(history: &History, found: &mut BTreeSet<Violation>) {
    let tried: HashSet<(&str, &str)> = history
        .entries
        .iter()
        .filter_map(|entry| match &entry.fact {
            Fact::Tried { session, key } => Some((session.as_str(), key.as_str())),
            _ => None,
        })
        .collect();
    let mut last: HashMap<&str, u64> = HashMap::new();
    let mut keys = HashSet::new();
    for message in &history.stored {
        let last = last.entry(&message.session).or_default();
        if message.seq != *last + 1 {
            let (session, seq) = (message.session.clone(), message.seq);
            found.insert(Violation::Misnumbered { session, seq });
        }
        *last = message.seq;
        if !keys.insert((&message.session, &message.key)) {
            found.insert(Violation::Doubled { key: message.key.clone() });
        }
        if !tried.contains(&(message.session.as_str(), message.key.as_str())) {
            found.insert(Violation::Forged { key: message.key.clone() });
        }
    }
}

/// What was acknowledged is stored, and everything was answered.
fn sends(history: &History, found: &mut BTreeSet<Violation>) {
    let keys: HashSet<(&str, &str)> = history
        .stored
        .iter()
        .map(|message| (message.session.as_str(), message.key.as_str()))
        .collect();
    let mut open = BTreeSet::new();
    for entry in &history.entries {
        match &entry.fact {
            Fact::Tried { key, .. } => drop(open.insert(key)),
            Fact::Refused { key, code } => {
                open.remove(key);
                found.insert(Violation::Refused { key: key.clone(), code: code.clone() });
            }
            Fact::Acknowledged(told) => {
                open.remove(&told.key);
                if !keys.contains(&(told.session.as_str(), told.key.as_str())) {
                    found.insert(Violation::Lost { key: told.key.clone(), seq: told.seq });
                }
            }
            _ => {}
        }
    }
    // What was answered once is answered, even if it was tried again later.
    let answered: HashSet<&String> = history
        .entries
        .iter()
        .filter_map(|entry| match &entry.fact {
            Fact::Acknowledged(told) => Some(&told.key),
            _ => None,
        })
        .collect();
    for key in open.difference(&answered.into_iter().collect()) {
        found.insert(Violation::Unanswered { key: (*key).clone() });
    }
}

/// Whether someone who was told this was told of that row, as it is or as it was before.
fn is_version_of(told: &Told, row: &Told) -> bool {
    let same = (&told.session, told.seq, &told.id, &told.key)
        == (&row.session, row.seq, &row.id, &row.key);
    same && (told.rev < row.rev || (told.rev == row.rev && told.body == row.body))
}

/// Nobody hears of a session that isn't theirs.
fn leaks(history: &History, device: usize, entries: &[&Entry], found: &mut BTreeSet<Violation>) {
    for entry in entries {
        let session = match &entry.fact {
            Fact::Heard(told)
            | Fact::Acknowledged(told)
            | Fact::Updated(told)
            | Fact::Amended(told) => &told.session,
            Fact::Joined { session, .. } => session,
            _ => continue,
        };
        let members = history.members.get(session);
        if !members.is_some_and(|members| members.contains(&history.devices[device])) {
            found.insert(Violation::Leaked { device, session: session.clone() });
        }
    }
}

/// What a device heard on each connection is in order, without a gap, as it is stored, and in the end
/// complete.
fn reading(history: &History, device: usize, entries: &[&Entry], found: &mut BTreeSet<Violation>) {
    let mut rows: HashMap<&str, BTreeMap<u64, &Told>> = HashMap::new();
    for row in &history.stored {
        rows.entry(&row.session).or_default().insert(row.seq, row);
    }
    let none = BTreeMap::new();
    // Of this connection: what it has, and what it sent itself, whose
    // acknowledgements may come behind the messages of others.
    let (mut last, mut own) = (0, HashSet::new());
    let mut seen: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    // The latest version of each message that it was told of, be it ahead of the message's turn.
    let mut versions: HashMap<(&str, u64), u64> = HashMap::new();
    for entry in entries {
        if let Fact::Heard(told)
        | Fact::Updated(told)
        | Fact::Amended(told)
        | Fact::Acknowledged(told) = &entry.fact
        {
            let row = rows.get(told.session.as_str()).and_then(|rows| rows.get(&told.seq));
            if !row.is_some_and(|row| is_version_of(told, row)) {
                found.insert(Violation::Altered { device, seq: told.seq });
            }
            let rev = versions.entry((&told.session, told.seq)).or_default();
            *rev = told.rev.max(*rev);
        }
        match &entry.fact {
            Fact::Joined { session, after: from } => {
                last = *from;
                seen.entry(session).or_default();
            }
            Fact::Gone => own.clear(),
            Fact::Tried { key, .. } => drop(own.insert(key.as_str())),
            Fact::Acknowledged(told) => {
                // Who only sends need not see anything.
                if let Some(seen) = seen.get_mut(told.session.as_str()) {
                    seen.insert(told.seq);
                }
            }
            Fact::Heard(told) => {
                let rows = rows.get(told.session.as_str()).unwrap_or(&none);
                if told.seq <= last {
                    found.insert(Violation::OutOfOrder { device, seq: told.seq, behind: last });
                }
                for seq in last + 1..told.seq {
                    let is_own = rows.get(&seq).is_some_and(|row| own.contains(row.key.as_str()));
                    if !is_own {
                        found.insert(Violation::Skipped { device, seq });
                    }
                }
                last = last.max(told.seq);
                seen.entry(&told.session).or_default().insert(told.seq);
            }
            Fact::Updated(_) | Fact::Amended(_) | Fact::Refused { .. } => {}
        }
    }
    for (session, seen) in seen {
        for (seq, row) in rows.get(session).unwrap_or(&none) {
            let version = versions.get(&(session, *seq)).copied().unwrap_or_default();
            if !seen.contains(seq) {
                found.insert(Violation::Unseen { device, seq: *seq });
            } else if version < row.rev {
                found.insert(Violation::Stale { device, seq: *seq });
            }
        }
    }
}

/// A stretch of time in which a device was in its session, and what it heard then.
struct Stay<'a> {
    session: &'a str,
    from: Duration,
    until: Duration,
    /// Of each message the versions, and when it was told of them.
    heard: HashMap<u64, Vec<(u64, Duration)>>,
    after: u64,
}

/// How long the slowest of a device's messages took, from its acknowledgement to its sender; it is
/// late when it took too long, and the device was there all the while.
fn waiting(
    history: &History,
    device: usize,
    entries: &[&Entry],
    found: &mut BTreeSet<Violation>,
) -> Duration {
    let end = history.entries.last().map_or(Duration::ZERO, |entry| entry.at);
    let stays = stays(entries, end);
    let mut slowest = Duration::ZERO;
    for entry in &history.entries {
        let (told, is_new) = match &entry.fact {
            Fact::Acknowledged(told) => (told, true),
            Fact::Amended(told) => (told, false),
            _ => continue,
        };
        if entry.device == device {
            continue;
        }
        let fits = |stay: &&Stay<'_>| {
            stay.session == told.session && stay.from <= entry.at && entry.at <= stay.until
        };
        for stay in stays.iter().filter(fits) {
            if is_new && told.seq <= stay.after {
                continue;
            }
            let versions = stay.heard.get(&told.seq).into_iter().flatten();
            let fitting = versions.filter(|(rev, _)| *rev >= told.rev);
            let heard = fitting.map(|(_, at)| *at).min();
            let due = due(entry.at, &history.troubles);
            if heard.unwrap_or(stay.until) > due {
                let by = heard.unwrap_or(stay.until).saturating_sub(due);
                found.insert(Violation::Late { device, seq: told.seq, by });
            }
            if due == entry.at + DUE {
                slowest = slowest.max(heard.unwrap_or(entry.at).saturating_sub(entry.at));
            }
        }
    }
    slowest
}

fn stays<'a>(entries: &[&'a Entry], end: Duration) -> Vec<Stay<'a>> {
    let mut stays: Vec<Stay<'a>> = Vec::new();
    let mut is_in = false;
    for entry in entries {
        match (&entry.fact, stays.last_mut()) {
            (Fact::Joined { session, after }, _) => {
                let heard = HashMap::new();
                stays.push(Stay { session, from: entry.at, until: end, heard, after: *after });
                is_in = true;
            }
            (Fact::Heard(told) | Fact::Updated(told), Some(stay)) if is_in => {
                stay.heard.entry(told.seq).or_default().push((told.rev, entry.at));
            }
            (Fact::Gone, Some(stay)) if is_in => {
                stay.until = entry.at;
                is_in = false;
            }
            _ => {}
        }
    }
    stays
}

/// When everyone must have heard what was acknowledged then: while there is trouble the time stands.
fn due(acknowledged: Duration, troubles: &[(Duration, Duration)]) -> Duration {
    let mut due = acknowledged + DUE;
    // Sorted by their beginnings, so that one pass finds those that follow on each other.
    for (from, until) in troubles {
        if *from < due && *until > acknowledged {
            due = due.max(*until + DUE);
        }
    }
    due
}
