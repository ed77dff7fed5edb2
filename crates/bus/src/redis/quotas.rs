//! Records of limits in Redis: the debt and the connection slots of each account. All keys expire by
//! themselves, and each script touches one key.
//!
//! Each node signs its number of slots. The debt is one number that Redis adds up for all nodes, so it
//! cannot be signed: [`crate::limits`] bounds its effect.

use std::time::Duration;

use async_trait::async_trait;
use fred::{
    clients::{Client, Pipeline},
    error::Error,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand},
};

use super::Redis;
use crate::{
    BusError, Quotas, SLOT_LEASE, Usage,
    cluster::{ClusterSecret, Purpose},
};

/// Stores the time at which an account's debt ends, in microseconds of Redis's clock. Adds the usage
/// and returns the remaining debt. An account without debt has no key.
const ADD_USAGE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local owed = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) - now, 0) + ARGV[1]
owed = math.min(owed, tonumber(ARGV[2]))
redis.call('SET', KEYS[1], string.format('%.0f', now + owed), 'PX', math.ceil(owed / 1000) + 1)
return owed";

/// Stores one hash field per node: expiry in seconds, number of slots and signature. Returns the fields
/// of the other nodes.
const SET_SLOTS: &str = "
local now = tonumber(redis.call('TIME')[1])
local node, count, lasts = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if count == 0 then
  redis.call('HDEL', KEYS[1], node)
else
  redis.call('HSET', KEYS[1], node, (now + lasts) .. ':' .. count .. ':' .. ARGV[4])
  redis.call('EXPIRE', KEYS[1], lasts)
end
local held, elsewhere = redis.call('HGETALL', KEYS[1]), {}
for at = 1, #held, 2 do
  local ends, signed = string.match(held[at + 1], '^(%d+):(.+)$')
  -- A lease beyond the maximum was written before the clock was set back.
  if not ends or tonumber(ends) <= now or tonumber(ends) > now + lasts then
    redis.call('HDEL', KEYS[1], held[at])
  elseif held[at] ~= node then
    table.insert(elsewhere, held[at] .. ':' .. signed)
  end
end
return elsewhere";

#[async_trait]
impl Quotas for Redis {
    async fn report_usage(&self, usages: &[Usage]) -> Result<Vec<Duration>, BusError> {
        let pipeline = self.commands.pipeline();
        for Usage { account, used, owed_max } in usages {
            let arguments = [used.as_micros().to_string(), owed_max.as_micros().to_string()];
            queue(&pipeline, ADD_USAGE, format!("frontdesk:owed:{account}"), arguments).await?;
        }
        let owed: Vec<u64> = pipeline.all().await?;
        Ok(owed.into_iter().map(Duration::from_micros).collect())
    }

    async fn report_slots(&self, held: &[(String, u32)]) -> Result<Vec<u32>, BusError> {
        let pipeline = self.commands.pipeline();
        for (account, count) in held {
            let count = count.to_string();
            let signed = [account.as_bytes(), count.as_bytes()];
            let stamp = self.secret.sign(Purpose::Slots, &signed);
            let lease = SLOT_LEASE.as_secs().to_string();
            let arguments = [self.secret.node().to_owned(), count, lease, stamp];
            // Nodes older than signatures use another key.
            queue(&pipeline, SET_SLOTS, format!("frontdesk:slots:{account}"), arguments).await?;
        }
        let elsewhere: Vec<Vec<String>> = pipeline.all().await?;
        let counts = held.iter().zip(elsewhere).map(|((account, _), fields)| {
            let counts = fields.iter().filter_map(|field| count(&self.secret, account, field));
            counts.fold(0, u32::saturating_add)
        });
        Ok(counts.collect())
    }
}

/// Queues a script. The client's own script function sends nothing else until its reply.
async fn queue<const N: usize>(
    pipeline: &Pipeline<Client>,
    script: &str,
    key: String,
    arguments: [String; N],
) -> Result<(), Error> {
    let eval = CustomCommand::new_static("EVAL", ClusterHash::Offset(2), false);
    let head = [script.to_owned(), "1".to_owned(), key];
    pipeline.custom(eval, head.into_iter().chain(arguments).collect()).await
}

/// Number of slots that a node holds of the account, if the signature is valid.
fn count(secret: &ClusterSecret, account: &str, field: &str) -> Option<u32> {
    let mut parts = field.splitn(3, ':');
    let (node, count, stamp) = (parts.next()?, parts.next()?, parts.next()?);
    let signed = [account.as_bytes(), count.as_bytes()];
    let origin = secret.verify(Purpose::Slots, &signed, stamp.as_bytes()).ok()?;
    (origin.node == node).then(|| count.parse().ok())?
}
