//! One side of a selector, exactly what a TS payload carries (RFC 7296 §3.13.1).

use std::fmt;
use std::str::FromStr;

use crate::ports::PortRange;
use crate::protocol;
use crate::range::{AddrRange, ParseAddrRangeError};

/// Addresses, next protocol and ports of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrafficSelector {
    /// Addresses of one family.
    pub addresses: AddrRange,
    /// IP protocol; 0 is any.
    pub protocol: u8,
    /// Ports; for ICMP, type and code as `type << 8 | code` (RFC 4301 §4.4.1.1).
    pub ports: PortRange,
}

impl TrafficSelector {
    /// All traffic of these addresses.
    pub const fn any(addresses: AddrRange) -> Self {
        Self { addresses, protocol: 0, ports: PortRange::ANY }
    }

    /// Whether everything that matches `other` matches `self`.
    pub fn contains(&self, other: &Self) -> bool {
        self.addresses.contains_range(&other.addresses)
            && (self.protocol == 0 || self.protocol == other.protocol)
            && self.ports.contains_range(&other.ports)
    }

    /// What both have in common; `None` if nothing.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let protocol = match (self.protocol, other.protocol) {
            (0, p) | (p, 0) => p,
            (p, q) if p == q => p,
            _ => return None,
        };
        Some(Self {
            addresses: self.addresses.intersect(&other.addresses)?,
            protocol,
            ports: self.ports.intersect(&other.ports)?,
        })
    }
}

impl From<AddrRange> for TrafficSelector {
    fn from(addresses: AddrRange) -> Self {
        Self::any(addresses)
    }
}

/// As strongSwan writes it: `10.0.0.0/24[tcp/80]`, `10.0.0.1/32[17/1000-2000]` for a protocol without a name,
/// `10.0.0.1..10.0.0.9`, `0.0.0.0/0[icmp/3(1)]` for ICMP type and code, `::/0[udp/OPAQUE]`.
impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addresses.prefix_len() {
            Some(len) => write!(f, "{}/{len}", self.addresses.start())?,
            None => write!(f, "{}..{}", self.addresses.start(), self.addresses.end())?,
        }
        if self.protocol == 0 && self.ports.is_any() {
            return Ok(());
        }
        match protocol::name(self.protocol) {
            Some(name) if self.protocol != 0 => write!(f, "[{name}")?,
            _ => write!(f, "[{}", self.protocol)?,
        }
        if self.ports.is_opaque() {
            f.write_str("/OPAQUE")?;
        } else if !self.ports.is_any() {
            f.write_str("/")?;
            write_port(f, self.protocol, self.ports.start)?;
            if self.ports.start != self.ports.end {
                f.write_str("-")?;
                write_port(f, self.protocol, self.ports.end)?;
            }
        }
        f.write_str("]")
    }
}

fn write_port(f: &mut fmt::Formatter<'_>, protocol: u8, port: u16) -> fmt::Result {
    match (protocol::is_icmp(protocol), port.to_be_bytes()) {
        (false, _) => write!(f, "{port}"),
        (true, [kind, 0]) => write!(f, "{kind}"),
        (true, [kind, code]) => write!(f, "{kind}({code})"),
    }
}

/// Why a text is not a [`TrafficSelector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseTrafficSelectorError {
    /// The part before the bracket.
    Addresses(ParseAddrRangeError),
    /// A bracket is not closed, or something follows it.
    Bracket,
    /// Neither a protocol number nor one of the names known here.
    Protocol,
    /// Not a port, a range of ports, `any` or `opaque`; for ICMP, not a type, `type(code)` or a range of them.
    Ports,
    /// Ports need a protocol that has them (RFC 7296 §3.13.1).
    PortsWithoutProtocol,
}

impl fmt::Display for ParseTrafficSelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Addresses(error) => return error.fmt(f),
            Self::Bracket => "expected one [protocol/port] at the end",
            Self::Protocol => "neither a protocol number nor a known protocol name",
            Self::Ports => "not a port, a range of ports, `any` or `opaque` (ICMP: a type, or `type(code)`)",
            Self::PortsWithoutProtocol => "ports need a protocol that has them, such as tcp or udp",
        })
    }
}

impl std::error::Error for ParseTrafficSelectorError {}

/// What [`Display`](fmt::Display) writes; also names and numbers interchangeably, `any` and `opaque`.
impl FromStr for TrafficSelector {
    type Err = ParseTrafficSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use ParseTrafficSelectorError as E;
        let (addresses, upper) = match text.split_once('[') {
            None => (text, None),
            Some((addresses, rest)) => (addresses, Some(rest.strip_suffix(']').ok_or(E::Bracket)?)),
        };
        let addresses = addresses.trim().parse().map_err(E::Addresses)?;
        let Some(upper) = upper else { return Ok(Self::any(addresses)) };
        let (protocol, ports) = upper.split_once('/').unwrap_or((upper, "any"));
        let protocol = digits(protocol).or_else(|| protocol::from_name(protocol).map(u16::from)).ok_or(E::Protocol)?;
        let protocol = u8::try_from(protocol).map_err(|_| E::Protocol)?;
        let ports = parse_ports(protocol, ports).ok_or(E::Ports)?;
        if protocol == 0 && !ports.contains_opaque() {
            return Err(E::PortsWithoutProtocol);
        }
        Ok(Self { addresses, protocol, ports })
    }
}

fn parse_ports(protocol: u8, text: &str) -> Option<PortRange> {
    if text.eq_ignore_ascii_case("any") {
        return Some(PortRange::ANY);
    }
    if text.eq_ignore_ascii_case("opaque") {
        return Some(PortRange::OPAQUE);
    }
    let port = |text| if protocol::is_icmp(protocol) { parse_icmp(text) } else { digits(text) };
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (port(start)?, port(end)?);
    (start <= end).then_some(PortRange { start, end })
}

/// `8`, `3(1)`, or `type << 8 | code` as one number from 256 on.
fn parse_icmp(text: &str) -> Option<u16> {
    if let Some((kind, code)) = text.split_once('(') {
        let byte = |text| digits(text).and_then(|n| u8::try_from(n).ok());
        return Some(u16::from_be_bytes([byte(kind)?, byte(code.strip_suffix(')')?)?]));
    }
    digits(text).map(|n| if n < 256 { n << 8 } else { n })
}

/// A number in plain digits; `u16::from_str` would also take a sign.
fn digits(text: &str) -> Option<u16> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
pub(crate) mod tests;
