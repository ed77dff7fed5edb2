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
}

impl Frames {
    pub(super) fn new(sends_a_second: NonZeroU32) -> Self {
        let rate = sends_a_second.saturating_mul(FOR_EACH_SEND);
        Self {
            bucket: RateLimiter::direct(Quota::per_second(rate).allow_burst(BURST.max(rate))),
            refusals: RateLimiter::direct(Quota::per_second(FORGIVEN).allow_burst(REFUSALS)),
            flooding: false,
        }
    }

    /// A frame has come; if it is one too many, how long until there is room for one.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.bucket.check().map_err(|until| until.wait_time_from(Instant::now()))
    }

    /// Something was refused.
    pub(crate) fn refused(&mut self) {
        self.flooding |= self.refusals.check().is_err();
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
            if frames.take().is_err() {
                refused += 1;
                frames.refused();
            }
        }
        assert!((300..600).contains(&refused), "{refused}");
    }
}
