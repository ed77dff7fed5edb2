//! Answers of requests: their data.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use model::{
    ids::{EpochId, SessionId},
    message::Message,
    session::Session,
};

/// Empty answer of a completed command.
#[derive(Serialize, ToSchema)]
pub struct Nothing {}

/// The session as it is, with a page of its messages.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Joined<'a> {
    /// The session, as its member sees it.
    pub session: &'a Session,
    /// The `seq` of its last message.
    pub last_seq: u64,
    /// Epoch of these numbers. Send it with the next join.
    pub epoch: EpochId,
    /// Messages after the client's position, or the latest page, in the order of `seq`.
    pub messages: &'a [Message],
    /// The client's positions are of another epoch, or beyond the end. `messages` is the latest page
    /// and replaces everything that the client has of the session.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
    /// Messages changed since the client's revision. Absent with `resync`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<Vec<Message>>,
}

/// Acknowledgement with the committed message.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sent {
    /// The committed message.
    pub message: Message,
    /// The `clientId` was used before. `message` is the first result.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub duplicate: bool,
    /// The earlier send had other content.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub differs: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The message after the change.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changed {
    /// The message after the change.
    pub message: Message,
}

/// The current position.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// The session.
    pub session_id: SessionId,
    /// The read position.
    pub seq: u64,
}

/// End of the connection's new token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refreshed {
    /// End of the new token.
    pub expires_at: Timestamp,
}
