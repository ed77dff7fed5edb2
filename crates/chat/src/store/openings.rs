//! Replies between people: counted before a session is opened, and checked before someone's
//! presence is shown.

use async_trait::async_trait;

use db::StoreError;
use model::{ids::SessionId, person::PersonName, scope::Scope};

/// The part of a store that answers these questions.
#[async_trait]
pub trait Openings: Send + Sync + 'static {
    /// Number of open sessions of `me`, a customer, without a message of a dentist, up to `limit`.
    async fn unanswered(&self, me: &Scope, limit: u32) -> Result<u32, StoreError>;

    /// Whether a person has ever written in a session that `me` is a member of.
    async fn has_written(
        &self,
        me: &Scope,
        id: SessionId,
        person: &PersonName,
    ) -> Result<bool, StoreError>;
}

/// $1 the customer, $2 the limit, $3 the tenant. It uses the index of open sessions, then the index of
/// `client_id`s, which begins with the tenant, the session and the sender.
pub(super) const UNANSWERED: &str = "select count(*) as sessions from ( \
    select 1 as one from sessions c \
    where c.tenant_id = $3 and c.customer_id = $1 and c.status = 'open' and not exists ( \
      select 1 from messages w where w.tenant_id = c.tenant_id + 0 and w.session_id = c.id and w.sender_kind = 'dentist') \
    limit $2) waiting";

/// $1 the session, $2 and $3 the person, $4 the tenant, $5 and $6 the member.
pub(super) const HAS_WRITTEN: &str = "select 1 as one from participants me \
    join messages m on m.tenant_id = me.tenant_id + 0 and m.session_id = me.session_id \
      and m.sender_kind = $2 and m.sender_id = $3 \
    where me.tenant_id = $4 and me.session_id = $1 and me.kind = $5 and me.person_id = $6 limit 1";
