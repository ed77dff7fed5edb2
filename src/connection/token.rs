//! The token that a connection lives by.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::auth::{Identity, LEEWAY};

/// A token, from the moment in which it was shown.
#[derive(Debug)]
pub(crate) struct Token {
    identity: Identity,
    /// When its leeway is over, as the clock stood when it was shown.
    until: Instant,
}

/// It ends before the one that the connection has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Older;

impl Token {
    pub(crate) fn new(identity: Identity, shown: Instant) -> Self {
        let until = shown + left(&identity, Timestamp::now());
        Self { identity, until }
    }

    /// Takes a newer one in its place, with what that one says of its bearer; the same one may be
    /// shown again.
    pub(crate) fn refresh(&mut self, newer: Identity, shown: Instant) -> Result<(), Older> {
        if newer.expires_at < self.identity.expires_at {
            return Err(Older);
        }
        let before = (self.identity.expires_at, self.until);
        *self = Self::new(newer, shown);
        if self.identity.expires_at == before.0 {
            // What the clock says now lengthens none.
            self.until = self.until.min(before.1);
        }
        Ok(())
    }

    /// When it ends, in seconds since 1970.
    pub(crate) fn expires_at(&self) -> i64 {
        self.identity.expires_at
    }

    /// How long it still counts, its leeway included: by the clock, or by the time that has passed since
    /// it was shown, whichever is less. So a clock that jumps back lengthens no token.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.left_at(now, Timestamp::now())
    }

    fn left_at(&self, now: Instant, clock: Timestamp) -> Duration {
        left(&self.identity, clock).min(self.until.saturating_duration_since(now))
    }
}

/// Until its leeway is over by this clock; nothing where it is, a year at most.
fn left(identity: &Identity, clock: Timestamp) -> Duration {
    let end = (identity.expires_at + LEEWAY).saturating_mul(1_000);
    let millis = u64::try_from(end.saturating_sub(clock.as_millisecond())).unwrap_or(0);
    Duration::from_millis(millis.min(31_536_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::{Person, PersonKind};

    fn identity(expires_in: i64) -> Identity {
        Identity {
            person: Person::new(PersonKind::Dentist, "7".parse().unwrap()),
            admin: false,
            expires_at: Timestamp::now().as_second() + expires_in,
        }
    }

    #[test]
    fn f25_a_clock_that_jumps_lengthens_no_token_and_its_leeway_is_60_s() {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let token = Token::new(identity(600), now);
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let about = |left: Duration, expected: Duration| {
            assert!(left <= expected && left + Duration::from_secs(2) > expected, "{left:?}");
        };
        about(token.left_at(now, clock), minutes(11));
        about(token.left_at(now, clock - minutes(60)), minutes(11));
        about(token.left_at(now + minutes(5), clock - minutes(55)), minutes(6));
        assert!(token.left_at(now + minutes(11), clock - minutes(49)).is_zero());
        // By a clock that is ahead it has ended, and by one that is not it has not.
        about(token.left_at(now, clock + minutes(9)), minutes(2));
        assert!(token.left_at(now, clock + minutes(60)).is_zero());
        about(token.left_at(now + minutes(1), clock + minutes(1)), minutes(10));
        // One from a time out of this world is none that counts for ever.
        assert!(
            Token::new(Identity { expires_at: i64::MAX - LEEWAY, ..identity(0) }, now).left(now)
                <= minutes(525_600)
        );
    }

    #[test]
    fn b16_only_a_newer_token_takes_the_place_of_one() {
        let now = Instant::now();
        let mut token = Token::new(identity(600), now);
        let ends = token.expires_at();
        assert_eq!(token.refresh(identity(300), now), Err(Older));
        assert_eq!(token.expires_at(), ends);
        assert_eq!(token.refresh(Identity { expires_at: ends, ..identity(0) }, now), Ok(()));
        assert_eq!(token.refresh(identity(900), now), Ok(()));
        assert!(token.expires_at() > ends);
    }
}
