//! What `onesignal-rust-api` calls of reqwest 0.12, over the reqwest that the house has anyway.
//!
//! As it comes, that crate brings a second HTTP client and OpenSSL, and it drops the headers of an
//! answer, `Retry-After` among them. Here there is one client, over rustls, and it notes how long
//! it was asked to wait.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use current::{Error, Method, Request, RequestBuilder, Response, StatusCode, header};

/// A client that remembers the `Retry-After` of its last answer.
#[derive(Clone, Debug, Default)]
pub struct Client {
    inner: current::Client,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl From<current::Client> for Client {
    /// Shares the client's connections, and nothing that was remembered.
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

    /// How long the last answer asked to wait, in whole seconds as rate limits have it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
