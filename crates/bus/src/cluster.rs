//! Secret shared by all nodes, and signatures made with it.
//!
//! Redis never sees the secret, and nothing that it carries or stores is trusted without a signature of
//! the node that wrote it: envelopes, node addresses, presence, and the number of connections of an
//! account. A request that one node carries to another is signed too, and so is its answer. A signature
//! covers its purpose, the node, the time, a number that the node uses once, and all data that belongs
//! to it, such as the channel of an envelope or the account of a count.

pub mod config;
pub mod counts;
mod replays;
mod stamp;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Instant, SystemTime},
};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hkdf, hmac};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::ExposeSecret;

pub use replays::Replays;
pub use stamp::STAMP;
use stamp::{HEAD, Head};

use self::config::ClusterConfig;
use crate::cluster::counts::DistrustCounts;

/// Maximum age of a signature, past or future, in milliseconds. Clocks of nodes may differ.
const AGE_MAX_MS: u64 = 120_000;
/// Version of the key derivation.
const SALT: &[u8] = b"frontdesk cluster secret 1";

/// Purpose of a signature. A signature for another purpose is invalid.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// An envelope on the bus.
    Envelope,
    /// The address of a node.
    NodeAddress,
    /// An entry of the presence table.
    Presence,
    /// Connection slots of a node.
    Slots,
    /// A request that is carried to another node.
    Request,
    /// The answer to it.
    Answer,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::NodeAddress => "node_address",
            Self::Presence => "presence",
            Self::Slots => "slots",
            Self::Request => "request",
            Self::Answer => "answer",
        }
    }
}

/// Reason for rejecting an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It has no signature.
    #[error("it has no signature")]
    Unsigned,
    /// The signature is not of this cluster.
    #[error("its signature is not from a node of this cluster")]
    Forged,
    /// It is too old, or from the future.
    #[error("its signature is too old, or the clocks of the nodes differ by more than two minutes")]
    Stale,
    /// It has been seen before.
    #[error("it was received before")]
    Repeated,
}

/// Node that signed an item, and the number that it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Name of the node that signed.
    pub node: &'a str,
    /// Number of the signature on that node.
    pub number: u64,
}

/// The shared secret, as used by one node.
pub struct ClusterSecret {
    node: String,
    signing: hmac::Key,
    /// Second accepted key, while the secret rotates.
    also_valid: Option<hmac::Key>,
    accepts_unsigned: bool,
    signed: AtomicU64,
    clock: Clock,
    counts: DistrustCounts,
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClusterSecret").field("node", &self.node).finish_non_exhaustive()
    }
}

impl ClusterSecret {
    /// The secret as this node uses it.
    pub fn new(config: &ClusterConfig, node: &str, counts: DistrustCounts) -> Self {
        let key = |secret: &secrecy::SecretString| key(secret.expose_secret().as_bytes());
        Self {
            node: node.to_owned(),
            signing: key(&config.secret),
            also_valid: config.also_valid.as_ref().map(key),
            accepts_unsigned: config.accept_unsigned,
            signed: AtomicU64::new(1),
            clock: Clock::start(),
            counts,
        }
    }

    /// Name of this node, as in its signatures.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Whether unsigned items count, because older nodes may run beside this one.
    pub(crate) fn accepts_unsigned(&self) -> bool {
        self.accepts_unsigned
    }

    /// Signs these parts. The signature has [`STAMP`] ASCII characters.
    pub fn sign(&self, purpose: Purpose, parts: &[&[u8]]) -> String {
        let (wall, steady) = self.clock.now();
        let number = self.signed.fetch_add(1, Ordering::Relaxed);
        let mut stamp = Head { node: &self.node, wall, steady, number }.to_string();
        let tag = mac(&self.signing, purpose, &stamp, parts);
        BASE64_URL_SAFE_NO_PAD.encode_string(tag, &mut stamp);
        stamp
    }

    /// Verifies signature and age, and returns the signing node. A caller that must reject repeats
    /// checks [`Replays`] too.
    pub fn verify<'a>(
        &self,
        purpose: Purpose,
        parts: &[&[u8]],
        stamp: &'a [u8],
    ) -> Result<Origin<'a>, Distrust> {
        let verified = self.check(purpose, parts, stamp);
        verified.inspect_err(|reason| self.distrust(purpose, *reason))
    }

    fn check<'a>(
        &self,
        purpose: Purpose,
        parts: &[&[u8]],
        stamp: &'a [u8],
    ) -> Result<Origin<'a>, Distrust> {
        let stamp = str::from_utf8(stamp).map_err(|_| Distrust::Forged)?;
        let (head, tag) = stamp.split_at_checked(HEAD).ok_or(Distrust::Forged)?;
        let mut claimed = [0; 32];
        let decoded = BASE64_URL_SAFE_NO_PAD.decode_slice(tag, &mut claimed);
        if stamp.len() != STAMP || decoded != Ok(claimed.len()) {
            return Err(Distrust::Forged);
        }
        let holds = |key: &hmac::Key| {
            let tag = mac(key, purpose, head, parts);
            verify_slices_are_equal(tag.as_ref(), &claimed).is_ok()
        };
        if !holds(&self.signing) && !self.also_valid.as_ref().is_some_and(holds) {
            return Err(Distrust::Forged);
        }
        let Head { node, wall, steady, number } = Head::read(head).ok_or(Distrust::Forged)?;
        let (wall_here, steady_here) = self.clock.now();
        // If a clock is set anew, there or here, the other pair of times still fits.
        let age = wall.abs_diff(wall_here).min(steady.abs_diff(steady_here));
        if age > AGE_MAX_MS {
            return Err(Distrust::Stale);
        }
        Ok(Origin { node, number })
    }

    /// Counts a rejected item. The first of each kind is logged.
    pub fn distrust(&self, purpose: Purpose, reason: Distrust) {
        if self.counts.count(reason) {
            let kind = purpose.label();
            tracing::warn!(kind, %reason, "data rejected: not proven to be from a node of this cluster");
        }
    }
}

/// Derives the signing key by HKDF-SHA256.
fn key(secret: &[u8]) -> hmac::Key {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
    match prk.expand(&[b"hmac"], hmac::HMAC_SHA256) {
        Ok(okm) => hmac::Key::from(okm),
        // The output is as long as the hash, which is never too long.
        Err(_) => hmac::Key::new(hmac::HMAC_SHA256, secret),
    }
}

/// Each part is preceded by its length, so that no part can pass for a piece of another.
fn mac(key: &hmac::Key, purpose: Purpose, head: &str, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in [purpose.label().as_bytes(), head.as_bytes()].iter().chain(parts) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign()
}

/// Two times: the machine's clock, and the clock at start plus the elapsed time. Setting the clock
/// moves the first, pausing the machine delays the second.
struct Clock {
    began: Instant,
    began_ms: u64,
}

impl Clock {
    fn start() -> Self {
        Self { began: Instant::now(), began_ms: wall_ms() }
    }

    fn now(&self) -> (u64, u64) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (wall_ms(), self.began_ms.saturating_add(passed))
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Secret of all tests, as used by this node.
    pub(crate) fn secret(node: &str) -> ClusterSecret {
        of(node, "a secret of 32 characters or more", None)
    }

    fn of(node: &str, secret: &str, other: Option<&str>) -> ClusterSecret {
        let config = ClusterConfig::of(secret, other);
        ClusterSecret::new(&config, node, DistrustCounts::default())
    }

    const NODE: &str = "0123456789ab";
    const PARTS: [&[u8]; 2] = [b"frontdesk:session:1", b"{}"];

    #[test]
    fn c14_a_signature_holds_for_all_that_it_is_over_and_nothing_else() {
        let (one, other) = (secret(NODE), secret("ba9876543210"));
        let stamp = one.sign(Purpose::Envelope, &PARTS);
        assert_eq!(stamp.len(), STAMP);
        let origin = other.verify(Purpose::Envelope, &PARTS, stamp.as_bytes()).unwrap();
        assert_eq!(origin, Origin { node: NODE, number: 1 });
        let forged = |purpose, parts: &[&[u8]], stamp: &str| {
            assert_eq!(other.verify(purpose, parts, stamp.as_bytes()), Err(Distrust::Forged));
        };
        forged(Purpose::Presence, &PARTS, &stamp);
        forged(Purpose::Envelope, &[b"frontdesk:session:2", b"{}"], &stamp);
        forged(Purpose::Envelope, &[b"frontdesk:session:1{", b"}"], &stamp);
        forged(Purpose::Envelope, &[b"frontdesk:session:1", b"{}", b""], &stamp);
        // Change each character: node, times, number and MAC.
        for at in 0..STAMP {
            let mut changed = stamp.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            forged(Purpose::Envelope, &PARTS, str::from_utf8(&changed).unwrap());
        }
        for bad in ["", &stamp[1..], &format!("{stamp}0"), &"ä".repeat(STAMP / 2)] {
            forged(Purpose::Envelope, &PARTS, bad);
        }
    }

    #[test]
    fn c14_a_secret_rotates_while_both_are_known() {
        let (old, new) =
            ("the old one, of 32 characters at least", "the new one, of as many at the least");
        let [before, learns, moves, after] =
            [(old, None), (old, Some(new)), (new, Some(old)), (new, None)]
                .map(|(first, second)| of(NODE, first, second));
        let believes = |verifier: &ClusterSecret, signer: &ClusterSecret| {
            let stamp = signer.sign(Purpose::Envelope, &PARTS);
            verifier.verify(Purpose::Envelope, &PARTS, stamp.as_bytes()).is_ok()
        };
        for (one, other) in [(&before, &learns), (&learns, &moves), (&moves, &after)] {
            assert!(believes(one, other) && believes(other, one), "a step of the rotation");
        }
        assert!(!believes(&before, &after) && !believes(&after, &before));
    }

    #[test]
    fn c14_f25_a_signature_ages_by_the_clock_or_by_the_time_that_has_passed() {
        let (one, mut other) = (secret(NODE), secret(NODE));
        let stamp = one.sign(Purpose::Envelope, &PARTS);
        let verify =
            |other: &ClusterSecret| other.verify(Purpose::Envelope, &PARTS, stamp.as_bytes());
        other.clock.began_ms += AGE_MAX_MS * 2;
        assert!(verify(&other).is_ok(), "by the clock it is new");
        let mut late = Clock::start();
        late.began_ms -= AGE_MAX_MS * 2;
        let late = ClusterSecret { clock: late, ..secret(NODE) };
        assert!(verify(&late).is_ok());
        // The clock was wrong at the node's start, and has been set since.
        let (wall, steady) = one.clock.now();
        let head = Head { node: NODE, wall: wall - AGE_MAX_MS * 2, steady, number: 1 }.to_string();
        let signed = |head: String| {
            let tag = mac(&one.signing, Purpose::Envelope, &head, &PARTS);
            let stamp = head + &BASE64_URL_SAFE_NO_PAD.encode(tag);
            secret(NODE).verify(Purpose::Envelope, &PARTS, stamp.as_bytes()).map(drop)
        };
        assert_eq!(signed(head), Ok(()));
        for off in [AGE_MAX_MS + 5_000, AGE_MAX_MS * 30] {
            for (wall, steady) in [(wall - off, steady - off), (wall + off, steady + off)] {
                let head = Head { node: NODE, wall, steady, number: 1 }.to_string();
                assert_eq!(signed(head), Err(Distrust::Stale));
            }
        }
    }
}
