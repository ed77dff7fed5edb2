//! Limit of all frames of one connection, and detection of clients that ignore refusals.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Frames allowed for each send that a user may make: joins, reads and typing are frames too.
const FOR_EACH_SEND: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Burst of frames: a client may join all its sessions anew, and some more.
const BURST: NonZeroU32 = NonZeroU32::new(1_200).unwrap();
/// Burst of refusals before they are a flood. An gateway that was offline may send all it has before it reads the
/// first refusal.
const REFUSALS: NonZeroU32 = NonZeroU32::new(300).unwrap();
/// Refusals a second that are forgiven.
const FORGIVEN: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Frame limits of one connection.
#[derive(Debug)]
pub struct Frames {
    bucket: DefaultDirectRateLimiter,
    refusals: DefaultDirectRateLimiter,
    flooding: bool,
    /// Time for which one send fills its user's bucket.
    cell: Duration,
    /// End of the latest retry delay given so far.
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

    /// Counts a frame. If it is over the limit, returns the time until there is room for one.
    pub fn take(&self) -> Result<(), Duration> {
        self.bucket.check().map_err(|until| until.wait_time_from(Instant::now()))
    }

    /// Records a refusal, with the time until there is room. Returns the retry delay: it ends after all
    /// earlier ones, because retries at one time would all fail but one.
    pub fn refused(&mut self, wait: Duration) -> Duration {
        self.flooding |= self.refusals.check().is_err();
        let now = Instant::now();
        self.promised = (self.promised + self.cell).max(now + wait);
        self.promised - now
    }

    /// Whether the client continues despite many refusals.
    pub(crate) fn is_flooding(&self) -> bool {
        self.flooding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat::joins::JOINS_MAX;

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
