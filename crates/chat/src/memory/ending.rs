//! End of a reader, with its reason.

use std::sync::OnceLock;

use tokio::sync::Notify;

use protocol::CloseCode;

/// End of a reader, decided once.
#[derive(Debug, Default)]
pub struct Ending {
    /// The reason, and whether the reader is evicted to free memory.
    code: OnceLock<(CloseCode, bool)>,
    ended: Notify,
}

impl Ending {
    /// Ends the reader. The first reason counts. False if it is ending already.
    pub fn close(&self, code: CloseCode) -> bool {
        self.set(code, false)
    }

    /// Ends it as a slow reader to free its memory: the close is short.
    pub(super) fn evict(&self) -> bool {
        self.set(CloseCode::SlowReader, true)
    }

    fn set(&self, code: CloseCode, evicted: bool) -> bool {
        let first = self.code.set((code, evicted)).is_ok();
        self.ended.notify_waiters();
        first
    }

    /// Reason of the end, if it is ending.
    pub fn code(&self) -> Option<CloseCode> {
        self.code.get().map(|(code, _)| *code)
    }

    /// Whether the reader was closed for the budget.
    pub fn is_evicted(&self) -> bool {
        self.code.get().is_some_and(|(_, evicted)| *evicted)
    }

    /// Resolves when the reader must end.
    pub async fn until(&self) -> CloseCode {
        loop {
            let ended = self.ended.notified();
            if let Some(code) = self.code() {
                return code;
            }
            ended.await;
        }
    }
}
