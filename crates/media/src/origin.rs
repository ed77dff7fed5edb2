//! The client's view of this node's address.

use axum::http::{HeaderMap, header, uri::Authority};

/// Scheme, host and port by which a client reached this node, and so the embedded server.
#[derive(Debug)]
pub struct Origin(pub(crate) String);

impl Origin {
    /// Reads the client's request, with the header of a proxy that terminates TLS for this node.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let host: Authority = text(header::HOST.as_str())?.parse().ok()?;
        // With several proxies the first value is the client's own scheme.
        let scheme = text("x-forwarded-proto").and_then(|list| list.split(',').next());
        let secure = scheme.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"));
        Some(Self(format!("{}://{host}", if secure { "https" } else { "http" })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_sent_to_where_it_came_from() {
        let origin = |headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (axum::http::HeaderName::from_static(name), value.parse().unwrap())
            });
            Origin::of(&headers.collect()).map(|origin| origin.0)
        };
        assert_eq!(origin(&[("host", "a.example:3000")]), Some("http://a.example:3000".to_owned()));
        let behind = [("host", "chat.example"), ("x-forwarded-proto", "https, http")];
        assert_eq!(origin(&behind), Some("https://chat.example".to_owned()));
        assert_eq!(origin(&[]), None);
        assert_eq!(origin(&[("host", "a b")]), None);
    }
}
