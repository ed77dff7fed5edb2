//! Signature as text of fixed length: the node, two times, a number, and the MAC.

use std::fmt;

/// Length of a node's name, a time or a number, in hexadecimal characters.
const FIELD: usize = 12;
/// Length before the MAC, in characters.
pub(super) const HEAD: usize = 4 * FIELD;
/// Total length in characters. A MAC of 32 bytes has 43 in Base64.
pub const STAMP: usize = HEAD + 43;
/// Largest number that fits into a field.
const NUMBER_MAX: u64 = (1 << (4 * FIELD)) - 1;

/// Text before the MAC.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) node: &'a str,
    /// Milliseconds since 1970: by the node's clock, and by its start time plus the elapsed time.
    pub(super) wall: u64,
    pub(super) steady: u64,
    pub(super) number: u64,
}

impl fmt::Display for Head<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [wall, steady, number] =
            [self.wall, self.steady, self.number].map(|number| number & NUMBER_MAX);
        write!(out, "{:0>12.12}{wall:012x}{steady:012x}{number:012x}", self.node)
    }
}

impl<'a> Head<'a> {
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut rest = text;
        let mut field = || {
            let (field, behind) = rest.split_at_checked(FIELD)?;
            rest = behind;
            Some(field)
        };
        let node = field()?;
        let mut number = || u64::from_str_radix(field()?, 16).ok();
        Some(Self { node, wall: number()?, steady: number()?, number: number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for number in [0, 1, NUMBER_MAX] {
            let head = Head { node: "0123456789ab", wall: number, steady: 7, number };
            let text = head.to_string();
            assert_eq!((text.len(), Head::read(&text)), (HEAD, Some(head)));
        }
        assert_eq!(Head::read("0123456789ab"), None);
        assert_eq!(Head::read(&"x".repeat(HEAD)), None);
    }
}
