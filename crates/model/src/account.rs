//! Subjects of limits: people, and the addresses of clients.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use crate::person::Person;

/// Subject of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// A person, on all their devices.
    User(Person),
    /// A client without a token, by its address.
    Address(Address),
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(person) => write!(out, "user:{person}"),
            Self::Address(address) => write!(out, "address:{address}"),
        }
    }
}

/// Client address for limits: an IPv4 address, or an IPv6 network of 64 bits, because a client that has one
/// address of such a network has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl Address {
    /// The address, or the first one of the network.
    pub fn ip(self) -> IpAddr {
        self.0
    }
}
