//! How much one connection may say, whatever it is, and when it has not listened to refusals.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// How many frames a connection may send for each of its user's sends: joins, reads and typing too.
const FOR_EACH_SEND: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// How many at once: every session that it may be in, joined anew, and some more.
const BURST: NonZeroU32 = NonZeroU32::new(1_200).unwrap();
/// How many refusals make a flood where they come at once: an app that was offline may flush what it
/// has before it reads the first.
const REFUSALS: NonZeroU32 = NonZeroU32::new(300).unwrap();
/// How many refusals a second are forgiven.
const FORGIVEN: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// One connection's frames.
#[derive(Debug)]
pub(crate) struct Frames {
    bucket: DefaultDirectRateLimiter,
    refusals: DefaultDirectRateLimiter,
    flooding: bool,
    /// For how long one send fills its user's bucket.
    cell: Duration,
    /// Until when those who were refused so far have been told to wait.
    promised: Instant,
}

impl Frames {
    pub(super) fn new(sends_a_second: NonZeroU32) -> Self {
        let rate = sends_a_second.saturating_mul(FOR_EACH_SEND);
        Self {
            bucket: RateLimiter::direct(Quota::per_second(rate).allow_burst(BURST.max(rate))),
            refusals: RateLimiter::direct(Quota::per_second(FORGIVEN).allow_burst(REFUSALS)),
            flooding: false,
            cell: Duration::from_secs(1) / sends_a_second.get(),
            promised: Instant::now(),
        }
    }

    /// A frame has come; if it is one too many, how long until there is room for one.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.bucket.check().map_err(|until| until.wait_time_from(Instant::now()))
    }

    /// Something was refused, as there is room in so long. When it is to be tried again: behind all
    /// that were refused before, or they would come together and all but one in vain.
    pub(crate) fn refused(&mut self, wait: Duration) -> Duration {
        self.flooding |= self.refusals.check().is_err();
        let now = Instant::now();
        self.promised = (self.promised + self.cell).max(now + wait);
        self.promised - now
    }

    /// Whether the client goes on, though it was refused often enough to know.
    pub(crate) fn is_flooding(&self) -> bool {
        self.flooding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::joins::JOINS_MAX;

    #[test]
    fn b50_all_joins_at_once_fit_and_a_flood_ends() {
        let mut frames = Frames::new(NonZeroU32::new(1).unwrap());
        assert!((0..JOINS_MAX).all(|_| frames.take().is_ok()));
        let mut refused = 0;
        while !frames.is_flooding() {
            if let Err(wait) = frames.take() {
                refused += 1;
                frames.refused(wait);
            }
        }
        assert!((300..600).contains(&refused), "{refused}");
    }

    #[test]
    fn b50_those_who_are_refused_together_are_told_to_come_one_by_one() {
        let mut frames = Frames::new(NonZeroU32::new(20).unwrap());
        let waits: Vec<Duration> =
            (0..100).map(|_| frames.refused(Duration::from_millis(50))).collect();
        assert!(waits.is_sorted_by(|one, next| *next > *one + Duration::from_millis(40)));
        assert!(waits[99] < Duration::from_secs(6), "{waits:?}");
        assert!(!frames.is_flooding());
    }
}
