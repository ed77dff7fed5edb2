//! Finds the broken promises of a round, from the entries of the devices and the rows in the database.
//!
//! The checker knows nothing of the server's internals. The promises are those of the contract: an
//! acknowledged message is stored once; the messages of a session are numbered 1, 2, 3 …; each member
//! receives each message once and in order under every fault, and within 5 s while the database works;
//! nobody else receives any.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    time::Duration,
};

use crate::history::{Entry, Fact, History, Told};

/// Longest delay of a message to a connected device: the contract's 5 s, and 2 s for a busy machine.
pub(crate) const DUE: Duration = Duration::from_secs(7);

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// An acknowledged message is not stored.
    Lost { key: String, seq: u64 },
    /// A device received a message that differs from the stored one.
    Altered { device: usize, seq: u64 },
    /// A key has several rows.
    Doubled { key: String },
    /// The stored numbers have a gap or a repetition.
    Misnumbered { session: String, seq: u64 },
    /// A stored message was sent by no member.
    Forged { key: String },
    /// A send was refused for good.
    Refused { key: String, code: String },
    /// A send was never acknowledged, although all faults were mended.
    Unanswered { key: String },
    /// A device received a message twice, or after a later one, on one connection.
    OutOfOrder { device: usize, seq: u64, behind: u64 },
    /// A device received a message without the one before.
    Skipped { device: usize, seq: u64 },
    /// A member has not received a message by the end.
    Unseen { device: usize, seq: u64 },
    /// A member has an old version of a message at the end.
    Stale { device: usize, seq: u64 },
    /// A device that was connected all the time received a message too late.
    Late { device: usize, seq: u64, by: Duration },
    /// A device received a message of a session of which its owner is no member.
    Leaked { device: usize, session: String },
}

impl Violation {
    /// Laws of `ARCHITECTURE.md` that it breaks.
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

/// All violations, in the order of the variants above, and the delay of the slowest message.
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

/// Checks that the numbers have no gaps, that keys are unique, and that a member sent each message.
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

/// Checks that acknowledged messages are stored, and that every send has a reply.
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
    // A retry after an acknowledgement needs no reply of its own.
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

/// Whether the received message is the stored row or an earlier version of it.
fn is_version_of(told: &Told, row: &Told) -> bool {
    let same = (&told.session, told.seq, &told.id, &told.key)
        == (&row.session, row.seq, &row.id, &row.key);
    same && (told.rev < row.rev || (told.rev == row.rev && told.body == row.body))
}

/// Checks that only members receive events of a session.
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

/// Checks that a device receives messages in order, without gaps and as stored on each connection, and
/// all of them by the end.
fn reading(history: &History, device: usize, entries: &[&Entry], found: &mut BTreeSet<Violation>) {
    let mut rows: HashMap<&str, BTreeMap<u64, &Told>> = HashMap::new();
    for row in &history.stored {
        rows.entry(&row.session).or_default().insert(row.seq, row);
    }
    let none = BTreeMap::new();
    // State of this connection: the last message, and the device's own messages, whose acknowledgements
    // may come after the messages of others.
    let (mut last, mut own) = (0, HashSet::new());
    let mut seen: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    // Latest version received of each message, which may precede the message itself.
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
                // A device that only sends need not receive anything.
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

/// A period in which a device has joined its session, with the messages received.
struct Stay<'a> {
    session: &'a str,
    from: Duration,
    until: Duration,
    /// Versions of each message, with the time of their arrival.
    heard: HashMap<u64, Vec<(u64, Duration)>>,
    after: u64,
}

impl Stay<'_> {
    /// Whether this version of a message was received in it, or a later one.
    fn has(&self, told: &Told) -> bool {
        let mut versions = self.heard.get(&told.seq).into_iter().flatten();
        self.session == told.session && versions.any(|(rev, _)| *rev >= told.rev)
    }
}

/// Delay of the slowest message of a device, from the acknowledgement to its sender. Adds a violation
/// for each late message if the device was connected all the time.
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
            // A change that is tried again is answered again, and sent to nobody who has it.
            let mut before = stays.iter().take_while(|earlier| earlier.until <= stay.from);
            if !is_new && before.any(|earlier| earlier.has(told)) {
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

/// Time limit for the delivery of a message acknowledged at this time; it is extended by trouble.
fn due(acknowledged: Duration, troubles: &[(Duration, Duration)]) -> Duration {
    let mut due = acknowledged + DUE;
    // They are sorted by start, so that one pass finds troubles that overlap.
    for (from, until) in troubles {
        if *from < due && *until > acknowledged {
            due = due.max(*until + DUE);
        }
    }
    due
}
