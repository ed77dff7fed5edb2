//! Client address of a request, as far as it can be trusted.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use model::account::Address;

/// Header in which each proxy appends the address of its client.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks that contain an address, from wide to narrow: of a site, a household and a device.
pub fn networks(address: Address) -> [IpNet; 3] {
    let lengths = if address.ip().is_ipv4() { [16, 24, 32] } else { [48, 56, 64] };
    lengths.map(|length| {
        IpNet::new(address.ip(), length).map_or(address.ip().into(), |network| network.trunc())
    })
}

/// Address of the client. An entry of the header counts only if a trusted proxy wrote it, also on behalf
/// of another trusted proxy.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Address {
    let mut client = peer;
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut told = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    while is_trusted(client, trusted)
        && let Some(before) = told.next().and_then(read)
    {
        client = before;
    }
    client.into()
}

pub(crate) fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    trusted.iter().any(|net| net.contains(&ip))
}

/// Parses one entry. Some proxies add a port.
fn read(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    bare.parse().ok().or_else(|| entry.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn b20_only_what_a_trusted_proxy_says_counts() {
        assert_eq!(ask("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        // A client without a proxy may send any header.
        assert_eq!(ask("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(ask("203.0.113.9", &["10.0.0.7"]), "203.0.113.9");
        // So may a client behind a proxy: its entries are to the left of the proxy's.
        assert_eq!(ask("10.0.0.1", &["198.51.100.1, 10.0.0.7, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(ask("10.0.0.1", &["198.51.100.1", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(ask("10.0.0.1", &["203.0.113.9, 10.2.0.1,10.1.0.1"]), "203.0.113.9");
        assert_eq!(ask("::ffff:10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(ask("fd00::1", &["[2001:db8::1]:443"]), "2001:db8::");
    }

    #[test]
    fn b20_what_is_no_address_is_not_believed() {
        assert_eq!(ask("10.0.0.1", &[]), "10.0.0.1");
        for nonsense in ["unknown", "", ",", "203.0.113.9, 999.1.1.1", "\u{e9}", "10.0.0.0/8"] {
            assert_eq!(ask("10.0.0.1", &[nonsense]), "10.0.0.1", "{nonsense}");
        }
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_network() {
        let of = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
