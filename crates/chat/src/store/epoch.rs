//! The epoch of the order: `seq` counts within it.
//!
//! A restored backup, or a replica that lagged when it was promoted, lacks the newest messages and
//! gives their numbers to other ones. The epoch is renewed then, so that a client with positions of
//! an earlier epoch loads its sessions again. Three detectors renew it: PostgreSQL's connections
//! compare the server's lineage, the hub compares the rooms with the heads, and an operator runs
//! `frontdesk restored`.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use db::StoreError;
use model::{
    ids::{EpochId, SessionId},
    scope::Scope,
};

/// Time after a cut in which clients that name no epoch receive everything since the cut again.
const CUT_REPLAY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The stored epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Grows with each renewal.
    pub number: u64,
    /// Identity of the epoch.
    pub id: EpochId,
    /// From this time on a message may have a number that another one had. `None` in the first
    /// epoch.
    pub(crate) cut_at: Option<Timestamp>,
}

impl Epoch {
    /// The cut, for as long as clients may come back that saw the earlier epoch and name none.
    pub fn recent_cut(&self) -> Option<Timestamp> {
        self.cut_at.filter(|cut_at| Timestamp::now().duration_since(*cut_at) < CUT_REPLAY)
    }

    /// Whether a database that was at `known` got here by renewals only.
    pub fn follows(&self, known: &Self) -> bool {
        self.number > known.number || self.id == known.id
    }
}

/// The part of a store that keeps the epoch.
#[async_trait]
pub trait Epochs: Send + Sync + 'static {
    /// The current epoch.
    async fn epoch(&self) -> Result<Epoch, StoreError>;

    /// Renews the epoch, unless another node has renewed this one. The new number is above
    /// `at_least`. Returns the epoch afterwards.
    async fn renew_epoch(&self, stored: EpochId, at_least: u64) -> Result<Epoch, StoreError>;

    /// `seq` of the last message up to `seq`, created before `time`, in a session that `me` is a
    /// member of; 0 if there is none.
    async fn last_before(
        &self,
        me: &Scope,
        id: SessionId,
        seq: u64,
        time: Timestamp,
    ) -> Result<u64, StoreError>;
}

pub(super) const EPOCH: &str = "select number, id as epoch, cut_at from epoch";

/// $1, $2 the member, $3 session, $4 the maximum `seq`, $5 the time, $6 the tenant. Backwards by
/// `seq`: it reads only the messages since that time.
pub(super) const LAST_BEFORE: &str = "select m.seq from messages m \
    join participants me on me.tenant_id = m.tenant_id and me.session_id = m.session_id \
      and me.kind = $1 and me.person_id = $2 \
    where m.tenant_id = $6 and m.session_id = $3 and m.seq <= $4 and m.created_at < $5 order by m.seq desc limit 1";

#[cfg(test)]
mod tests {
    use super::*;
    use platform::new_id;

    fn epoch(number: u64) -> Epoch {
        Epoch { number, id: EpochId(new_id()), cut_at: None }
    }

    #[test]
    fn a_database_that_went_back_does_not_follow() {
        let (first, second, other_second) = (epoch(1), epoch(2), epoch(2));
        assert!(first.follows(&first) && second.follows(&first));
        assert!(!first.follows(&second) && !other_second.follows(&second));
    }

    #[test]
    fn a_cut_is_recent_for_a_week() {
        let ago = |hours| Timestamp::now() - SignedDuration::from_hours(hours);
        let cut = |hours| Epoch { cut_at: Some(ago(hours)), ..epoch(2) }.recent_cut();
        assert!(epoch(1).recent_cut().is_none() && cut(1).is_some() && cut(200).is_none());
    }
}
