//! A Socket.IO client's offset: the received position of each of its sessions.
//!
//! The reference server keeps this in memory, under the client's `pid`. Here the client carries it,
//! so that any node can restore it from the store, after any outage. It grants nothing that a
//! `session:join` would not grant: each session is read by its member.
//!
//! Format: base64url of a version, the epoch in 16 bytes, then for each session its id in 16 bytes,
//! the number up to which the client has everything, and the count and the numbers beyond (each as
//! the distance from the one before), as LEB128 numbers. An offset of more than [`SESSIONS_MAX`]
//! sessions is empty, and restores nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use base64::{Engine, display::Base64Display, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use model::ids::{EpochId, SessionId};

/// Version 1 had no epoch, and restores nothing.
const VERSION: u8 = 2;
/// Maximum of restorable sessions: each takes about 26 characters of every offset.
pub const SESSIONS_MAX: usize = 20;
/// Maximum of messages beyond the position that are recorded.
const BEYOND_MAX: usize = 32;

/// Received position in one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedPosition {
    /// The client has everything up to and including this number.
    pub up_to: u64,
    /// Further numbers: its own sends, acknowledged before earlier messages of others arrived.
    pub beyond: BTreeSet<u64>,
}

impl ReceivedPosition {
    /// Everything up to this `seq`.
    pub fn at(up_to: u64) -> Self {
        Self { up_to, beyond: BTreeSet::new() }
    }

    /// Records that the client has everything up to this number.
    pub fn advance(&mut self, seq: u64) {
        self.up_to = self.up_to.max(seq);
        while let Some(next) = self.beyond.first().copied()
            && next <= self.up_to.saturating_add(1)
        {
            self.up_to = self.up_to.max(next);
            self.beyond.pop_first();
        }
    }

    /// The last number that the client has.
    pub fn last(&self) -> u64 {
        self.beyond.last().copied().unwrap_or(self.up_to)
    }

    /// Records that the client has this number.
    pub fn add(&mut self, seq: u64) {
        if seq > self.up_to {
            self.beyond.insert(seq);
            self.advance(0);
        }
        while self.beyond.len() > BEYOND_MAX {
            // The client receives this one twice: better than not at all.
            self.beyond.pop_first();
        }
    }
}

/// Received positions in all sessions of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// The epoch in which the numbers count; nil if there are none.
    pub epoch: EpochId,
    /// Positions by session.
    pub positions: BTreeMap<SessionId, ReceivedPosition>,
}

impl fmt::Display for Offset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.positions.len() > SESSIONS_MAX {
            return Ok(());
        }
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(self.epoch.0.as_bytes());
        for (id, position) in &self.positions {
            bytes.extend_from_slice(id.0.as_bytes());
            write_number(&mut bytes, position.up_to);
            write_number(&mut bytes, position.beyond.len() as u64);
            let mut before = position.up_to;
            for seq in &position.beyond {
                write_number(&mut bytes, seq - before);
                before = *seq;
            }
        }
        Base64Display::new(&bytes, &URL_SAFE_NO_PAD).fmt(out)
    }
}

/// Text that is not an offset of ours.
#[derive(Debug, thiserror::Error)]
#[error("not an offset")]
pub struct NotAnOffset;

impl FromStr for Offset {
    type Err = NotAnOffset;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotAnOffset)?;
        let rest = bytes.strip_prefix(&[VERSION]).ok_or(NotAnOffset)?;
        let (epoch, mut rest) = rest.split_first_chunk().ok_or(NotAnOffset)?;
        let mut positions = BTreeMap::new();
        while !rest.is_empty() && positions.len() < SESSIONS_MAX {
            let (id, position) = read_position(&mut rest).ok_or(NotAnOffset)?;
            positions.insert(id, position);
        }
        let epoch = EpochId(Uuid::from_bytes(*epoch));
        if rest.is_empty() { Ok(Self { epoch, positions }) } else { Err(NotAnOffset) }
    }
}

fn read_position(bytes: &mut &[u8]) -> Option<(SessionId, ReceivedPosition)> {
    let (id, rest) = bytes.split_at_checked(16)?;
    let id = SessionId(Uuid::from_slice(id).ok()?);
    *bytes = rest;
    let mut position = ReceivedPosition::at(read_number(bytes)?);
    let count = usize::try_from(read_number(bytes)?).ok().filter(|count| *count <= BEYOND_MAX)?;
    let mut seq = position.up_to;
    for _ in 0..count {
        seq = seq.checked_add(read_number(bytes)?)?;
        position.beyond.insert(seq);
    }
    Some((id, position))
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_mul(1_u64 << shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use platform::new_id;

    #[test]
    fn a_place_moves_on_when_nothing_is_missing() {
        let mut position = ReceivedPosition::at(4);
        position.add(7);
        position.add(6);
        assert_eq!(position, ReceivedPosition { up_to: 4, beyond: [6, 7].into() });
        position.advance(5);
        assert_eq!(position, ReceivedPosition::at(7));
        position.add(8);
        position.add(3);
        assert_eq!(position, ReceivedPosition::at(8));
        (10..90).for_each(|seq| position.add(seq));
        assert_eq!(position.beyond.len(), BEYOND_MAX);
        position.advance(9);
        assert!(position.up_to == 9 && position.beyond.last() == Some(&89), "{position:?}");
    }

    #[test]
    fn what_is_no_offset_is_refused() {
        let too_many: BTreeMap<_, _> =
            (0..=SESSIONS_MAX).map(|_| (SessionId(new_id()), ReceivedPosition::at(1))).collect();
        assert_eq!(Offset { positions: too_many, ..Offset::default() }.to_string(), "");
        let empty = Offset::default().to_string();
        assert_eq!(empty.parse::<Offset>().unwrap(), Offset::default());
        for bad in [
            "",
            "AQ",
            "Ag",
            "AgE",
            &format!("{empty}AQ"),
            &empty[..20],
            "é",
            "a b",
            "AQ==",
            &"AQ".repeat(40_000),
        ] {
            assert!(bad.parse::<Offset>().is_err(), "{bad:.20}");
        }
    }

    proptest! {
        #[test]
        fn an_offset_is_read_as_it_was_written(
            epoch: u128,
            positions in prop::collection::vec((any::<u128>(), any::<u64>(), 0..5_u64), 0..SESSIONS_MAX),
        ) {
            let position = |up_to: u64, count| ReceivedPosition {
                up_to,
                beyond: (1..=count).filter_map(|n| up_to.checked_add(n * 2)).collect(),
            };
            let offset = Offset {
                epoch: EpochId(Uuid::from_u128(epoch)),
                positions: positions
                    .into_iter()
                    .map(|(id, up_to, count)| (SessionId(Uuid::from_u128(id)), position(up_to, count)))
                    .collect(),
            };
            prop_assert_eq!(offset.to_string().parse::<Offset>().unwrap(), offset);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "A[g-j][A-Za-z0-9_-]{0,140}") {
            drop(text.parse::<Offset>());
        }
    }
}
