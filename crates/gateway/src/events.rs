//! Events of clients on sockets, in both framings: one file per event.

mod amend;
pub(crate) mod join;
mod leave;
mod read;
mod refresh;
mod send;
mod typing;

use futures_util::{FutureExt, future::BoxFuture};
use opentelemetry::{
    KeyValue,
    trace::{SpanRef, Status},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::caller::Caller;
use chat::outbound::PageTurn;
use model::{ids::SessionId, message::amend::Amendment};
use platform::traces::{Asked, Span};
use protocol::{ClientEvent, Framing, error::Error};

/// Result of a command.
#[derive(Debug)]
pub(crate) enum Reply {
    /// An answer with this data.
    Data(Box<RawValue>),
    /// An answer with this data. Then the connection receives the room's messages from here on.
    Joined { data: Box<RawValue>, catch_up: join::CatchUp, turn: PageTurn },
    /// An answer with this data: the sender's copy of its message.
    Sent { data: Box<RawValue>, session_id: SessionId, seq: u64 },
    /// No answer: a catch-up has ended.
    Silent,
}

impl Reply {
    fn with(data: &impl Serialize) -> Self {
        Self::Data(to_raw(data))
    }

    /// Data of the answer, if there is one.
    pub(crate) fn data(&self) -> Option<&RawValue> {
        match self {
            Self::Data(data) | Self::Joined { data, .. } | Self::Sent { data, .. } => Some(data),
            Self::Silent => None,
        }
    }
}

fn to_raw(data: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(data).unwrap_or_default()
}

/// Starts a command. Steps that depend on the order of arrival (a send's place in the writer's queue)
/// are complete on return. The future resolves with the outcome.
pub(crate) fn start(
    caller: &Caller,
    event: ClientEvent,
) -> BoxFuture<'static, Result<Reply, Error>> {
    let traced = traced(&event).and_then(|name| Span::asked(Asked::Anyone(None), name));
    let Some(mut span) = traced else { return begin(caller, event) };
    let framing = match caller.outbound.framing() {
        Framing::Native => "native",
        Framing::SocketIo => "socketio",
    };
    span.set("frontdesk.framing", framing);
    span.around(|| begin(caller, event), ended)
}

/// Span name of a traced event. Frequent and cheap events are not traced.
fn traced(event: &ClientEvent) -> Option<&'static str> {
    match event {
        ClientEvent::Join(_) => Some("session:join"),
        ClientEvent::Send(_) => Some("message:send"),
        ClientEvent::Amend(amend) => Some(match amend.amendment {
            Amendment::Edit(_) => "message:edit",
            Amendment::Delete => "message:delete",
            Amendment::React { .. } => "message:react",
        }),
        ClientEvent::Read(_) => Some("message:read"),
        ClientEvent::AuthRefresh(_) => Some("auth:refresh"),
        ClientEvent::Leave(_) | ClientEvent::TypingStart(_) | ClientEvent::TypingStop(_) => None,
    }
}

fn ended(span: &SpanRef<'_>, outcome: &Result<Reply, Error>) {
    if let Err(error) = outcome {
        span.set_attribute(KeyValue::new("error.type", error.code()));
        if error.status().is_server_error() {
            span.set_status(Status::error(""));
        }
    }
}

fn begin(caller: &Caller, event: ClientEvent) -> BoxFuture<'static, Result<Reply, Error>> {
    match event {
        ClientEvent::Join(join) => join::start(caller.clone(), join).boxed(),
        ClientEvent::Leave(leave) => leave::run(caller, &leave).boxed(),
        ClientEvent::Send(send) => send::run(caller, send),
        ClientEvent::Amend(amend) => amend::run(caller.clone(), amend).boxed(),
        ClientEvent::Read(read) => read::run(caller.clone(), read).boxed(),
        ClientEvent::TypingStart(typing) => typing::run(caller, &typing, true).boxed(),
        ClientEvent::TypingStop(typing) => typing::run(caller, &typing, false).boxed(),
        ClientEvent::AuthRefresh(refresh) => refresh::run(caller.clone(), refresh).boxed(),
    }
}
