//! Properties of client addresses, for any header.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a finding is a panic")]

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue};

use super::address::{FORWARDED_FOR, client};

/// Any value of `X-Forwarded-For`.
pub fn addresses(bytes: &[u8]) {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
    let [stranger, proxy] =
        ["203.0.113.9", "10.0.0.1"].map(|address| address.parse::<IpAddr>().unwrap());
    let of = |peer, lines: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).ok()?);
        }
        Some(client(peer, &headers, &trusted))
    };
    let Some(behind) = of(proxy, &[bytes]) else { return };
    // An address is read as it is written.
    let told = behind.to_string();
    assert_eq!(of(proxy, &[told.as_bytes()]), Some(behind));
    // Forged entries do not count, from a client itself or from one behind a proxy.
    assert_eq!(of(stranger, &[bytes]), Some(stranger.into()));
    let added = [bytes, b", 203.0.113.9"].concat();
    assert_eq!(of(proxy, &[&added]), Some(stranger.into()));
    assert_eq!(of(proxy, &[bytes, b"203.0.113.9"]), Some(stranger.into()));
}
