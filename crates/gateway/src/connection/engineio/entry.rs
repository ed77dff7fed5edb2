//! Entry of a client: as a stranger, or with a token from the handshake.
//!
//! A stranger has a slot among strangers, and may lose it when others arrive. It releases the slot once
//! its token is verified: from then on the work is done for a known person.

use axum::extract::ws::Utf8Bytes;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, timeout_at},
};

use super::{Inbound, unguessable};
use crate::{
    Gateway,
    events::join::{self, Resumed},
    limits::{Slot, Stranger},
};
use chat::outbound::{Frame, Queued};
use identity::auth::{AuthError, Identity, is_same_secret};
use model::account::{Account, Address};
use protocol::{
    CloseCode,
    error::Error,
    socketio::{self, Auth, NAMESPACE, Packet},
    without_scheme,
};

/// Time limit for entering the namespace. It shrinks for strangers as they become many.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum number of attempts.
const CONNECT_TRIES: usize = 10;

/// Entry of a session.
pub(crate) struct Entry {
    /// `None` if the handshake had a valid token.
    stranger: Option<Stranger>,
    known: Option<Known>,
    /// Slots of the address, held to the end.
    of_address: Vec<Slot>,
}

/// Bearer of a valid token, and that user's slots.
struct Known {
    identity: Identity,
    slots: Vec<Slot>,
}

/// The person who has entered, their sessions to resume, and the slots held to the end.
pub(super) struct Entered {
    pub(super) identity: Identity,
    pub(super) resumed: Vec<Resumed>,
    pub(super) slots: Vec<Slot>,
}

impl Entry {
    /// Prepares the entry of a client at this address, with the token of the handshake.
    pub(crate) async fn open(
        gateway: &Gateway,
        address: Address,
        token: Option<&SecretString>,
    ) -> Result<Self, Error> {
        let of_address = gateway.limits.slots([Account::Address(address)]).await?;
        let stranger = gateway.limits.enter(address, CONNECT_TIMEOUT);
        let known = match token {
            Some(token) => Known::by(gateway, token).await,
            None => None,
        };
        let stranger = if known.is_some() { None } else { Some(stranger?) };
        Ok(Self { stranger, known, of_address })
    }

    /// Waits for the client to enter the namespace with a valid token.
    pub(super) async fn enter(
        self,
        gateway: &Gateway,
        packets: &mut mpsc::Receiver<Inbound>,
        queue: &mpsc::Sender<Queued>,
        first: Option<&SecretString>,
    ) -> Result<Entered, Refusal> {
        let limit = self.stranger.as_ref().map_or(CONNECT_TIMEOUT, Stranger::limit);
        // The client gets its first ping after it has entered, so the time limit is short.
        let deadline = Instant::now() + limit.min(gateway.config.ping_interval);
        let door = Door { gateway, queue, first, deadline };
        let proving = door.prove(packets, self.known);
        let (known, auth) = match &self.stranger {
            Some(stranger) => tokio::select! {
                biased;
                proved = proving => proved?,
                () = stranger.evicted() => return Err(Refusal::Evicted),
            },
            None => proving.await?,
        };
        drop(self.stranger);
        let Known { identity, mut slots } = match known {
            Ok(known) => known,
            // Not a permanent refusal: slots of a killed node become free after a while.
            Err(identity) => {
                let admitted = Known::admit(gateway, identity).await;
                admitted.map_err(|_| CloseCode::TooManyConnections)?
            }
        };
        let (pid, resumed) = recover(gateway, &identity, &auth).await?;
        door.answer(socketio::connected(&unguessable(), &pid)).await?;
        slots.extend(self.of_address);
        Ok(Entered { identity, resumed, slots })
    }
}

/// Reason for refusing a client.
pub(super) enum Refusal {
    /// The slot was needed. Nothing waits for this client.
    Evicted,
    Closed(CloseCode),
}

impl From<CloseCode> for Refusal {
    fn from(code: CloseCode) -> Self {
        Self::Closed(code)
    }
}

impl Known {
    /// `None` if the token is invalid, or its user has too many connections. The client gets the error
    /// when it connects.
    async fn by(gateway: &Gateway, token: &SecretString) -> Option<Self> {
        let identity = gateway.identify(without_scheme(token.expose_secret())).await.ok()?;
        Self::admit(gateway, identity).await.ok()
    }

    /// Takes a slot for one more connection of this user.
    async fn admit(gateway: &Gateway, identity: Identity) -> Result<Self, Error> {
        let slots = gateway.limits.slots([Account::User(identity.scope.person().clone())]).await?;
        Ok(Self { identity, slots })
    }
}

/// State of a client's attempts to enter.
struct Door<'a> {
    gateway: &'a Gateway,
    queue: &'a mpsc::Sender<Queued>,
    /// Token of the handshake.
    first: Option<&'a SecretString>,
    deadline: Instant,
}

impl Door<'_> {
    async fn answer(&self, text: Utf8Bytes) -> Result<(), CloseCode> {
        self.queue.send(Frame::Control(text).into()).await.map_err(|_| CloseCode::Bye)
    }

    async fn refuse(&self, error: &Error) -> Result<(), CloseCode> {
        self.answer(socketio::connect_error(NAMESPACE, error.code(), Some(error))).await
    }

    /// Next message of the client.
    async fn message(&self, packets: &mut mpsc::Receiver<Inbound>) -> Result<String, CloseCode> {
        loop {
            let packet = tokio::select! {
                packet = timeout_at(self.deadline, packets.recv()) => packet,
                () = self.gateway.until_draining() => return Err(CloseCode::Draining),
            };
            match packet {
                Ok(Some(Inbound::Message(text))) => return Ok(text),
                // Some clients send a pong before any ping.
                Ok(Some(Inbound::Pong)) => {}
                Ok(Some(Inbound::Bad(code))) => return Err(code),
                _ => return Err(CloseCode::Bye),
            }
        }
    }

    /// Verifies the client's token. Returns the user's slots too, if the handshake has taken them.
    async fn prove(
        &self,
        packets: &mut mpsc::Receiver<Inbound>,
        mut known: Option<Known>,
    ) -> Result<(Result<Known, Identity>, Auth), CloseCode> {
        for _ in 0..CONNECT_TRIES {
            let text = self.message(packets).await?;
            let Ok(Packet::Connect { namespace, auth }) = socketio::parse(&text) else {
                return Err(CloseCode::BadFrame);
            };
            if namespace != NAMESPACE {
                let refused = socketio::connect_error(namespace, "Invalid namespace", None);
                self.answer(refused).await?;
                continue;
            }
            let given = match auth.token() {
                Ok(given) => given,
                Err(error) => {
                    self.refuse(&error).await?;
                    continue;
                }
            };
            if self.is_first(given)
                && let Some(known) = known.take()
            {
                return Ok((Ok(known), auth));
            }
            match self.identify(given).await {
                Ok(identity) => return Ok((Err(identity), auth)),
                // The issuer is unavailable. A refusal would keep the client away, but this close code
                // makes it reconnect.
                Err(AuthError::IssuerUnavailable) => return Err(CloseCode::Draining),
                Err(error) => self.refuse(&error.into()).await?,
            }
        }
        Err(CloseCode::Unauthorized)
    }

    /// Whether the client connects with the token of the handshake.
    fn is_first(&self, given: Option<&str>) -> bool {
        let (Some(given), Some(first)) = (given, self.first) else { return given.is_none() };
        is_same_secret(given, without_scheme(first.expose_secret()))
    }

    async fn identify(&self, given: Option<&str>) -> Result<Identity, AuthError> {
        let token = given.or(self.first.map(ExposeSecret::expose_secret));
        self.gateway.identify(without_scheme(token.ok_or(AuthError::Missing)?)).await
    }
}

/// Returns the client's `pid` and its sessions to resume. If one of them cannot be resumed, the client
/// starts anew.
async fn recover(
    gateway: &Gateway,
    identity: &Identity,
    auth: &Auth,
) -> Result<(String, Vec<Resumed>), CloseCode> {
    if let Some((pid, offset)) = auth.recovery() {
        let resumed = join::look_up(gateway, &identity.scope, offset).await;
        // Without the database the result is unknown. The client keeps its state and tries again.
        if let Some(resumed) = resumed.map_err(|_| CloseCode::Draining)? {
            return Ok((pid.to_owned(), resumed));
        }
    }
    Ok((unguessable(), Vec::new()))
}
