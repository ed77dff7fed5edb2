//! Token of a connection.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use identity::auth::{Identity, LEEWAY};

/// A token, and the time at which it was shown.
#[derive(Debug)]
pub(super) struct Token {
    identity: Identity,
    /// End of the token with its leeway, computed from the clock at the time it was shown.
    until: Instant,
}

/// The new token ends before the current one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Older;

impl Token {
    pub(super) fn new(identity: Identity, shown: Instant) -> Self {
        let until = shown + left(&identity, Timestamp::now());
        Self { identity, until }
    }

    /// Replaces the token and its identity by a newer one. The same token may be shown again.
    pub(super) fn refresh(&mut self, newer: Identity, shown: Instant) -> Result<(), Older> {
        if newer.expires_at < self.identity.expires_at {
            return Err(Older);
        }
        let before = (self.identity.expires_at, self.until);
        *self = Self::new(newer, shown);
        if self.identity.expires_at == before.0 {
            // The current clock must not extend the token.
            self.until = self.until.min(before.1);
        }
        Ok(())
    }

    /// End of the token, in seconds since 1970.
    pub(super) fn expires_at(&self) -> i64 {
        self.identity.expires_at
    }

    /// Time for which the token still counts, including the leeway: by the clock, or by the time since
    /// it was shown, whichever is less. So a clock that jumps back extends no token.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.left_at(now, Timestamp::now())
    }

    fn left_at(&self, now: Instant, clock: Timestamp) -> Duration {
        left(&self.identity, clock).min(self.until.saturating_duration_since(now))
    }
}

/// Time left by this clock, including the leeway: at least zero, at most a year.
fn left(identity: &Identity, clock: Timestamp) -> Duration {
    let end = (identity.expires_at + LEEWAY).saturating_mul(1_000);
    let millis = u64::try_from(end.saturating_sub(clock.as_millisecond())).unwrap_or(0);
    Duration::from_millis(millis.min(31_536_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::TenantId;
    use model::person::{Person, Side};
    use model::scope::{Grants, Scope};

    fn identity(expires_in: i64) -> Identity {
        let person = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        Identity {
            scope: Scope::new(person, Grants::default()),
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
        // A clock that is ahead ends the token early, a correct one does not.
        about(token.left_at(now, clock + minutes(9)), minutes(2));
        assert!(token.left_at(now, clock + minutes(60)).is_zero());
        about(token.left_at(now + minutes(1), clock + minutes(1)), minutes(10));
        // A token with an absurd end does not count for ever.
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
