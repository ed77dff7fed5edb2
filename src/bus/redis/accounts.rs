//! What limits keep in Redis, a key an account: what is owed on it, and the places held on it. All of
//! it runs out by itself, and each script touches one key.

use std::time::Duration;

use fred::{
    clients::{Client, Pipeline},
    error::Error,
    interfaces::{ClientLike, KeysInterface},
    types::{ClusterHash, CustomCommand, SetOptions},
};

use crate::bus::{Charge, HELD};

/// Until when the account is owed, in microseconds, by the clock of Redis: more is added, and what is
/// owed from now on is answered. An account that owes nothing is one that doesn't exist.
const CHARGE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local owed = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) - now, 0) + ARGV[1]
owed = math.min(owed, tonumber(ARGV[2]))
redis.call('SET', KEYS[1], string.format('%.0f', now + owed), 'PX', math.ceil(owed / 1000) + 1)
return owed";

/// A field a node: how many places it holds, and until when that counts, in seconds. What the others
/// hold is answered.
const HOLD: &str = "
local now = tonumber(redis.call('TIME')[1])
local node, count, lasts = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if count == 0 then
  redis.call('HDEL', KEYS[1], node)
else
  redis.call('HSET', KEYS[1], node, count .. ':' .. (now + lasts))
  redis.call('EXPIRE', KEYS[1], lasts)
end
local held, elsewhere = redis.call('HGETALL', KEYS[1]), 0
for at = 1, #held, 2 do
  local places, ends = string.match(held[at + 1], '^(%d+):(%d+)$')
  -- One that lasts for longer than any is from before the clock was put back.
  if not ends or tonumber(ends) <= now or tonumber(ends) > now + lasts then
    redis.call('HDEL', KEYS[1], held[at])
  elseif held[at] ~= node then
    elsewhere = elsewhere + places
  end
end
return elsewhere";

/// Where the secret is that nodes know each other by.
const PASS: &str = "frontdesk:pass";

pub(super) async fn charge(client: &Client, charges: &[Charge]) -> Result<Vec<Duration>, Error> {
    let pipeline = client.pipeline();
    for Charge { account, used, owed_max } in charges {
        let arguments = [used.as_micros().to_string(), owed_max.as_micros().to_string()];
        queue(&pipeline, CHARGE, format!("frontdesk:owed:{account}"), arguments).await?;
    }
    let owed: Vec<u64> = pipeline.all().await?;
    Ok(owed.into_iter().map(Duration::from_micros).collect())
}

/// The client's own way of running a script sends nothing else until it is answered.
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

pub(super) async fn hold(
    client: &Client,
    node: &str,
    held: &[(String, u32)],
) -> Result<Vec<u32>, Error> {
    let pipeline = client.pipeline();
    for (account, count) in held {
        let arguments = [node.to_owned(), count.to_string(), HELD.as_secs().to_string()];
        queue(&pipeline, HOLD, format!("frontdesk:held:{account}"), arguments).await?;
    }
    pipeline.all().await
}

pub(super) async fn pass(client: &Client, offered: &str) -> Result<String, Error> {
    let lasts = None;
    let first = Some(SetOptions::NX);
    let _: Option<String> = client.set(PASS, offered, lasts, first, false).await?;
    client.get(PASS).await
}
