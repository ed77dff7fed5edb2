//! Read loop: receives frames, runs commands, sends their answers, and handles timers.

use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    caller::Caller,
    events::{
        self, Reply,
        join::{self, Resumed},
    },
    limits::frames::Frames,
};
use bus::broadcast::Broadcast;
use chat::outbound::{Mark, Next};
use identity::auth::LEEWAY;
use protocol::{CloseCode, Incoming, error::Error, server_events::AuthExpiring};

/// Maximum number of concurrent commands of a connection. Further frames wait in the socket.
const IN_FLIGHT: usize = 32;
/// Time limit for pending answers when a connection is closed.
const ANSWERS: Duration = Duration::from_secs(6);
/// Time between the notice of a token's end and that end.
const EXPIRING: Duration = Duration::from_secs(60);

/// Outcome of a command, and the id of the client's request.
struct Answered {
    id: Option<u64>,
    result: Result<Reply, Error>,
}

struct Reading<'a> {
    caller: &'a Caller,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    pinged: Instant,
    /// Token end, in seconds since 1970, of which the client has been notified.
    told_of: Option<i64>,
    /// Limit of incoming frames, or `None` if unlimited.
    frames: Option<Frames>,
}

/// Runs until the connection ends. Returns the close code, or `None` if the peer is gone.
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
        frames: caller.gateway.limits.frames(),
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
            // A client with too much unread data may not send further requests.
            () = caller.outbound.until_written(), if caller.outbound.is_busy() => {
                // The socket takes data, so the client is there, though its pongs are not read yet.
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

/// End of a connection.
enum End {
    Closed(CloseCode),
    /// No peer to notify. A silent peer gets no close frame, which would mean that it need not reconnect.
    Gone,
}

impl Reading<'_> {
    fn may_ask(&self) -> bool {
        self.under_way.len() < IN_FLIGHT && !self.caller.outbound.is_busy()
    }

    /// Starts the requested command. Returns the end of the connection, if there is one.
    fn take(&mut self, incoming: Incoming) -> Option<End> {
        let fits = self.frames.as_ref().map_or(Ok(()), Frames::take);
        let fits = fits.map_err(|wait| self.caller.gateway.limits.refuse_frame(wait));
        match incoming {
            Incoming::Request { id, .. } if let Err(error) = fits => {
                self.answer(Answered { id, result: Err(error) });
            }
            Incoming::Request { id, event: Ok(event) } => {
                let command = events::start(self.caller, event);
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
            self.caller.gateway.limits.flooded();
            End::Closed(CloseCode::Flooding)
        })
    }

    /// Counts a refusal. Returns the time after which to retry.
    fn refused(&mut self, wait: Duration) -> Duration {
        self.frames.as_mut().map_or(wait, |frames| frames.refused(wait))
    }

    fn answer(&mut self, mut answered: Answered) {
        if let Err(Error::RateLimited(wait)) = &mut answered.result {
            *wait = self.refused(*wait);
        }
        self.say(&answered);
        if let Ok(Reply::Joined { catch_up, turn, .. }) = answered.result {
            // The queued answer is charged separately.
            drop(turn);
            if let Some(other) = &catch_up.other {
                self.caller.watch(catch_up.session_id, catch_up.number, other);
            }
            // Only after the answer: live messages must not overtake those read.
            self.go_on(join::go_live(self.caller.clone(), catch_up));
        }
    }

    /// Runs work that no client waits for.
    fn go_on(&mut self, work: impl Future<Output = Result<Reply, Error>> + Send + 'static) {
        self.under_way.push(work.map(|result| Answered { id: None, result }).boxed());
    }

    /// Sends the answer, and marks the client's new position.
    fn say(&self, answered: &Answered) {
        if let Err(error) = &answered.result {
            error.log_cause();
        }
        let outbound = &self.caller.outbound;
        if outbound.is_cut_off() && matches!(answered.result, Ok(Reply::Joined { .. })) {
            return;
        }
        let (before, behind) = match &answered.result {
            Ok(Reply::Joined { catch_up, .. }) => catch_up.answered(&self.caller.joins).unzip(),
            Ok(Reply::Sent { session_id, seq, .. }) => {
                (None, Some(Mark::Has { session_id: *session_id, seq: *seq }))
            }
            _ => (None, None),
        };
        if let Some(mark) = before {
            outbound.mark(mark);
        }
        if let (Some(id), Some(answer)) =
            (answered.id, answered.result.as_ref().map(Reply::data).transpose())
        {
            outbound.answer(id, answer, behind);
        }
    }

    /// Completes pending commands and sends their answers, within a time limit.
    async fn finish_answers(&mut self) {
        let rest = async {
            while let Some(answered) = self.under_way.next().await {
                self.say(&answered);
            }
        };
        drop(timeout(ANSWERS, rest).await);
    }

    /// Runs due timers. Returns the next wake-up, or the end of the connection.
    fn tick(&mut self) -> Result<Instant, End> {
        let config = &self.caller.gateway.config;
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
            self.caller.gateway.chat.bus.publish(Broadcast::typing(id, self.caller.scope(), false));
        }
        let wake = wake.min(self.pinged + config.ping_interval).min(token);
        Ok(typing_until.map_or(wake, |until| wake.min(until)))
    }

    /// Announces the end of the token, and ends with it. Returns the next wake-up.
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
