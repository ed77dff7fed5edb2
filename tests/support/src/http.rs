//! The HTTP API, as an app uses it.

use std::net::SocketAddr;

use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

use crate::PATIENCE;

/// HTTP client of a user for one node.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as JSON; null if it is not JSON.
    pub body: Value,
    /// Body as text.
    pub text: String,
}

impl Http {
    /// Client for the node at this address with this token.
    #[must_use]
    pub fn new(address: SocketAddr, token: Option<&str>) -> Self {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { client, base: format!("http://{address}"), token: token.map(str::to_owned) }
    }

    /// The same client for another node or user, because building a new one is slow.
    #[must_use]
    pub fn to(&self, address: SocketAddr, token: &str) -> Self {
        Self {
            client: self.client.clone(),
            base: format!("http://{address}"),
            token: Some(token.to_owned()),
        }
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None, &[]).await
    }

    /// Status of a `GET`; `None` without a response.
    pub async fn try_get(&self, path: &str) -> Option<u16> {
        let sent = self.client.get(format!("{}{path}", self.base)).send().await;
        sent.ok().map(|response| response.status().as_u16())
    }

    /// `POST` with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(body.to_string()), &[]).await
    }

    /// `PATCH` with JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PATCH, path, Some(body.to_string()), &[]).await
    }

    /// `PUT` without a body.
    pub async fn put(&self, path: &str) -> Reply {
        self.send(Method::PUT, path, None, &[]).await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None, &[]).await
    }

    /// Sends any request.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let typed = headers.iter().any(|(name, _)| *name == "content-type");
        if body.is_some() && !typed {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut response = request.try_clone().unwrap().send().await;
        // A server may close an idle connection while a request is on its way. Every request here
        // is safe to repeat.
        for _ in 0..2 {
            if response.as_ref().is_err_and(is_cut) {
                response = request.try_clone().unwrap().send().await;
            }
        }
        let response = response.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        Reply { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
    }
}

fn is_cut(error: &reqwest::Error) -> bool {
    error.is_request() && format!("{error:?}").contains("IncompleteMessage")
}

impl Reply {
    /// The body; fails unless the status is this one.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "it asserts")]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Value of a header; empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
