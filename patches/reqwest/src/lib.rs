//! The part of reqwest 0.12 that `onesignal-rust-api` calls, on top of the workspace's own reqwest.
//!
//! The original dependency adds a second HTTP client and OpenSSL, and its caller drops the response
//! headers, `Retry-After` among them. This one shares the single client, over rustls, and records
//! `Retry-After`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use current::{Error, Method, Request, RequestBuilder, Response, StatusCode, header};

/// A client that records the `Retry-After` of its last response.
#[derive(Clone, Debug, Default)]
pub struct Client {
    inner: current::Client,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl From<current::Client> for Client {
    /// Shares the client's connections, but not its recorded `Retry-After`.
    fn from(inner: current::Client) -> Self {
        Self { inner, retry_after: Arc::default() }
    }
}

impl Client {
    /// A client with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.inner.request(method, url)
    }

    /// Sends a request.
    pub async fn execute(&self, request: Request) -> Result<Response, Error> {
        let response = self.inner.execute(request).await?;
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = retry_after(&response);
        Ok(response)
    }

    /// `Retry-After` of the last response; only whole seconds are parsed.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
