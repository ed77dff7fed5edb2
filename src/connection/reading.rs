//! The read loop: frames in, commands under way, their answers out, and the connection's clock.

use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Caller, outbound::Next, recovery::Mark};
use crate::{
    auth::LEEWAY,
    commands::{
        self, Done,
        join::{self, Resumed},
    },
    error::Error,
    limits::frames::Frames,
    wire::{CloseCode, Incoming, broadcast::Broadcast, told::AuthExpiring},
};

/// How many commands one connection has under way at most; further frames wait in the socket.
const IN_FLIGHT: usize = 32;
/// How long a connection that is told to end waits for the answers under way.
const ANSWERS: Duration = Duration::from_secs(6);
/// How long before its token ends a connection is told so.
const EXPIRING: Duration = Duration::from_secs(60);

/// A command's outcome, with the id under which the client waits for it.
struct Answered {
    id: Option<u64>,
    result: Result<Done, Error>,
}

struct Reading<'a> {
    caller: &'a Caller,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    pinged: Instant,
    /// The end, in seconds since 1970, that the client has been told of.
    told_of: Option<i64>,
    /// What it may say; none where that is not limited.
    frames: Option<Frames>,
}

/// Runs until the connection is to end for this reason, or (`None`) the peer is gone.
pub(super) async fn run(
    caller: &Caller,
    resumed: Vec<Resumed>,
    mut incoming: impl Stream<Item = Incoming> + Unpin,
    opened: Instant,
) -> Option<CloseCode> {
    let mut reading = Reading {
        caller,
        under_way: FuturesUnordered::new(),
        pinged: opened,
        told_of: None,
        frames: caller.app.limits.frames(),
    };
    for session in resumed {
        reading.go_on(join::resume(caller.clone(), session));
    }
    loop {
        let wake = match reading.tick() {
            Ok(wake) => wake,
            Err(End::Closed(code)) => return Some(code),
            Err(End::Gone) => return None,
        };
        tokio::select! {
            biased;
            code = caller.outbound.until_closing() => {
                if code != CloseCode::SlowReader {
                    reading.finish_answers().await;
                }
                return Some(code);
            }
            Some(answered) = reading.under_way.next() => reading.answer(answered),
            met = caller.outbound.strangers().until_met() => caller.met(&met),
            // Whoever does not read what there is may not ask for more.
            () = caller.outbound.until_written(), if caller.outbound.is_busy() => {
                // It takes what it is given, so it is there, though its pongs are not read yet.
                caller.outbound.liveness().takes();
            }
            () = caller.outbound.liveness().until_changed() => {}
            next = incoming.next(), if reading.may_ask() => {
                let incoming = next.unwrap_or(Incoming::Gone);
                if !matches!(incoming, Incoming::Gone) {
                    caller.outbound.alive();
                }
                match reading.take(incoming) {
                    None => {}
                    Some(End::Closed(code)) => {
                        reading.finish_answers().await;
                        return Some(code);
                    }
                    Some(End::Gone) => return None,
                }
            }
            () = sleep_until(wake) => {}
        }
    }
}

/// How a connection ends.
enum End {
    Closed(CloseCode),
    /// Nobody is there to be told. To one that is merely silent a close would say that it need not
    /// come back.
    Gone,
}

impl Reading<'_> {
    fn may_ask(&self) -> bool {
        self.under_way.len() < IN_FLIGHT && !self.caller.outbound.is_busy()
    }

    /// Begins what is asked for; why the connection ends, if it does.
    fn take(&mut self, incoming: Incoming) -> Option<End> {
        let fits = self.frames.as_ref().map_or(Ok(()), Frames::take);
        let fits = fits.map_err(|wait| self.caller.app.limits.refuse_frame(wait));
        match incoming {
            Incoming::Request { id, .. } if let Err(error) = fits => {
                self.answer(Answered { id, result: Err(error) });
            }
            Incoming::Request { id, event: Ok(event) } => {
                let command = commands::start(self.caller, event);
                self.under_way.push(command.map(move |result| Answered { id, result }).boxed());
            }
            Incoming::Request { id, event: Err(error) } => {
                self.answer(Answered { id, result: Err(error) });
            }
            Incoming::Alive => {
                if let Err(Error::RateLimited(wait)) = fits {
                    self.refused(wait);
                }
            }
            Incoming::End(code) => return Some(End::Closed(code)),
            Incoming::Gone => return Some(End::Gone),
        }
        let flooding = self.frames.as_ref().is_some_and(Frames::is_flooding);
        flooding.then(|| {
            self.caller.app.limits.flooded();
            End::Closed(CloseCode::Flooding)
        })
    }

    /// It asked for too much: when to ask again.
    fn refused(&mut self, wait: Duration) -> Duration {
        self.frames.as_mut().map_or(wait, |frames| frames.refused(wait))
    }

    fn answer(&mut self, mut answered: Answered) {
        if let Err(Error::RateLimited(wait)) = &mut answered.result {
            *wait = self.refused(*wait);
        }
        self.say(&answered);
        if let Ok(Done::Joined { at, turn, .. }) = answered.result {
            // Its answer is queued, and counted there.
            drop(turn);
            if let Some(other) = &at.other {
                self.caller.watch(at.session_id, at.number, other);
            }
            // Only now, behind the answer: what is live must not overtake what was read.
            self.go_on(join::go_live(self.caller.clone(), at));
        }
    }

    /// Something goes on by itself, with no one waiting for its answer.
    fn go_on(&mut self, work: impl Future<Output = Result<Done, Error>> + Send + 'static) {
        self.under_way.push(work.map(|result| Answered { id: None, result }).boxed());
    }

    /// Answers, and notes what the client has by it.
    fn say(&self, answered: &Answered) {
        let outbound = &self.caller.outbound;
        if outbound.is_cut_off() && matches!(answered.result, Ok(Done::Joined { .. })) {
            return;
        }
        let (before, behind) = match &answered.result {
            Ok(Done::Joined { at, .. }) => at.answered(&self.caller.joins).unzip(),
            Ok(Done::Sent { session_id, seq, .. }) => {
                (None, Some(Mark::Has { session_id: *session_id, seq: *seq }))
            }
            _ => (None, None),
        };
        if let Some(mark) = before {
            outbound.mark(mark);
        }
        if let (Some(id), Some(answer)) =
            (answered.id, answered.result.as_ref().map(Done::data).transpose())
        {
            outbound.answer(id, answer, behind);
        }
    }

    /// What is under way is decided and told, within bounds.
    async fn finish_answers(&mut self) {
        let rest = async {
            while let Some(answered) = self.under_way.next().await {
                self.say(&answered);
            }
        };
        drop(timeout(ANSWERS, rest).await);
    }

    /// Does what is due by the clock; when to look again, or why the connection ends.
    fn tick(&mut self) -> Result<Instant, End> {
        let config = &self.caller.app.config;
        let now = Instant::now();
        let outbound = &self.caller.outbound;
        let (interval, timeout) = (config.ping_interval, config.ping_timeout);
        let life = outbound.liveness().next(self.may_ask(), interval, timeout);
        let Some(Next { probe, wake }) = life else { return Err(End::Gone) };
        if probe {
            outbound.probe();
        }
        if now >= self.pinged + config.ping_interval {
            outbound.ping();
            self.pinged = now;
        }
        let token = self.token(now).map_err(End::Closed)?;
        let (silent, typing_until) = self.caller.typing.expired(now);
        for id in silent {
            self.caller.app.bus.publish(Broadcast::typing(id, self.caller.person(), false));
        }
        let wake = wake.min(self.pinged + config.ping_interval).min(token);
        Ok(typing_until.map_or(wake, |until| wake.min(until)))
    }

    /// Tells of a token that ends soon, and ends with it. When to look again.
    fn token(&mut self, now: Instant) -> Result<Instant, CloseCode> {
        let (expires_at, left) = self.caller.token(now);
        if left.is_zero() {
            return Err(CloseCode::Unauthorized);
        }
        let notice = left.saturating_sub(EXPIRING + Duration::from_secs(LEEWAY.unsigned_abs()));
        if !notice.is_zero() {
            return Ok(now + notice);
        }
        if self.told_of != Some(expires_at) {
            self.told_of = Some(expires_at);
            let expires_at = Timestamp::from_second(expires_at).unwrap_or(Timestamp::MAX);
            self.caller.outbound.tell(&AuthExpiring { expires_at });
        }
        Ok(now + left)
    }
}
