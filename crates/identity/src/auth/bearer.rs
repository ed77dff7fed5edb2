//! Places of the token in a request.

use axum::http::{HeaderMap, header};
use secrecy::SecretString;
use serde::Deserialize;

use super::AuthError;

/// WebSocket subprotocol that precedes the token. Browsers can set no other header.
pub const SUBPROTOCOL: &str = "bearer";

/// `Authorization: Bearer …`
pub fn from_headers(headers: &HeaderMap) -> Result<SecretString, AuthError> {
    let value = headers.get(header::AUTHORIZATION).ok_or(AuthError::Missing)?;
    let value = value.to_str().map_err(|_| AuthError::Invalid("it is not ASCII"))?;
    match value.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() =>
        {
            Ok(token.trim().into())
        }
        _ => Err(AuthError::Missing),
    }
}

/// Token of a handshake: in `Authorization`, in `Sec-WebSocket-Protocol: bearer, <token>`, or in
/// `?token=`. An empty token does not hide one in the next place.
pub fn from_handshake(headers: &HeaderMap, query: &str) -> Result<SecretString, AuthError> {
    #[derive(Deserialize)]
    struct Query {
        token: Option<String>,
    }
    match from_headers(headers) {
        Err(AuthError::Missing) => {}
        other => return other,
    }
    if let Some(token) = subprotocol(headers) {
        return Ok(token);
    }
    let uri = axum::http::Uri::builder().path_and_query(format!("/?{query}")).build();
    let token = uri
        .ok()
        .and_then(|uri| axum::extract::Query::<Query>::try_from_uri(&uri).ok())
        .and_then(|query| query.0.token)
        .filter(|token| !token.is_empty())
        .ok_or(AuthError::Missing)?;
    Ok(token.into())
}

fn subprotocol(headers: &HeaderMap) -> Option<SecretString> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut offered = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    offered.find(|name| name.trim() == SUBPROTOCOL)?;
    offered.next().map(str::trim).filter(|token| !token.is_empty()).map(Into::into)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn headers(headers: &[(header::HeaderName, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_handshake_carries_its_token_in_one_of_three_places() {
        let authorization = headers(&[(header::AUTHORIZATION, "bearer a.b.c")]);
        let protocol = headers(&[(header::SEC_WEBSOCKET_PROTOCOL, "bearer, a.b.c")]);
        for (headers, query) in
            [(authorization, "token=x"), (protocol, ""), (HeaderMap::new(), "EIO=4&token=a.b.c")]
        {
            assert_eq!(from_handshake(&headers, query).unwrap().expose_secret(), "a.b.c");
        }
        let empty =
            [(header::AUTHORIZATION, "Bearer "), (header::SEC_WEBSOCKET_PROTOCOL, "bearer,")];
        assert_eq!(from_handshake(&headers(&empty), "token=a").unwrap().expose_secret(), "a");
        for query in ["", "token=", "token", "%zz", "nontoken=1"] {
            assert!(from_handshake(&HeaderMap::new(), query).is_err());
        }
    }
}
