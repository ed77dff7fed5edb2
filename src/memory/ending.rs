//! Why a reader ends, once it does.

use std::sync::OnceLock;

use tokio::sync::Notify;

use crate::wire::CloseCode;

#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// With whether it ends to give back memory.
    code: OnceLock<(CloseCode, bool)>,
    ended: Notify,
}

impl Ending {
    /// Ends it; the first reason counts. False where it ends already.
    pub(crate) fn close(&self, code: CloseCode) -> bool {
        self.set(code, false)
    }

    /// Ends it as a slow reader, for its memory: there is no time for a long goodbye.
    pub(super) fn evict(&self) -> bool {
        self.set(CloseCode::SlowReader, true)
    }

    fn set(&self, code: CloseCode, evicted: bool) -> bool {
        let first = self.code.set((code, evicted)).is_ok();
        self.ended.notify_waiters();
        first
    }

    /// Why it ends, if it does.
    pub(crate) fn code(&self) -> Option<CloseCode> {
        self.code.get().map(|(code, _)| *code)
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.code.get().is_some_and(|(_, evicted)| *evicted)
    }

    /// Resolves when it is to end.
    pub(crate) async fn until(&self) -> CloseCode {
        loop {
            let ended = self.ended.notified();
            if let Some(code) = self.code() {
                return code;
            }
            ended.await;
        }
    }
}
