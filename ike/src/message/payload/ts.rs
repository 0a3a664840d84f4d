//! Traffic Selector payloads TSi and TSr (RFC 7296 §3.13).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Number of TSs |                 RESERVED                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   TS Type     |IP Protocol ID*|       Selector Length         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           Start Port*         |           End Port*           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                         Starting Address*                     ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                         Ending Address*                       ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cygnet_spd::{AddrRange, PortRange, TrafficSelector};

use super::super::numbers::TsType;
use super::super::{Decode, DecodeError, Encode, Reader, Writer};
use crate::limits;

/// One side's traffic: the union of its selectors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ts<'a> {
    /// Address selectors, in order.
    pub selectors: Vec<TrafficSelector>,
    /// Selectors of types we do not know. Narrowing leaves them out (RFC 7296 §2.9).
    pub unknown: Vec<UnknownSelector<'a>>,
}

/// A selector of a type we do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSelector<'a> {
    /// Its type.
    pub kind: TsType,
    /// The octet after the type: IP protocol, or reserved.
    pub protocol: u8,
    /// What follows its length field.
    pub body: &'a [u8],
}

impl From<Vec<TrafficSelector>> for Ts<'_> {
    fn from(selectors: Vec<TrafficSelector>) -> Self {
        Self { selectors, unknown: Vec::new() }
    }
}

impl From<&[TrafficSelector]> for Ts<'_> {
    fn from(selectors: &[TrafficSelector]) -> Self {
        selectors.to_vec().into()
    }
}

/// Octets up to and including the selector length.
const LENGTH_END: u16 = 4;

impl<'a> Decode<'a> for Ts<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = usize::from(r.u8()?);
        r.array::<3>()?;
        if count > limits::TRAFFIC_SELECTORS {
            return Err(DecodeError::TooMany("traffic selectors"));
        }
        let mut ts = Self::default();
        for _ in 0..count {
            let kind = TsType(r.u8()?);
            let protocol = r.u8()?;
            let length = r.u16()?;
            let mut body = r.sub_counted(length, LENGTH_END)?;
            match kind {
                TsType::IPV4_ADDR_RANGE => {
                    let ports = ports(&mut body)?;
                    let [start, end] = [body.array()?, body.array()?].map(|a| IpAddr::V4(Ipv4Addr::from_octets(a)));
                    ts.selectors.push(selector(protocol, ports, start, end)?);
                }
                TsType::IPV6_ADDR_RANGE => {
                    let ports = ports(&mut body)?;
                    let [start, end] = [body.array()?, body.array()?].map(|a| IpAddr::V6(Ipv6Addr::from_octets(a)));
                    ts.selectors.push(selector(protocol, ports, start, end)?);
                }
                _ => ts.unknown.push(UnknownSelector { kind, protocol, body: body.rest() }),
            }
            body.finish()?;
        }
        Ok(ts)
    }
}

fn ports(r: &mut Reader<'_>) -> Result<PortRange, DecodeError> {
    Ok(PortRange { start: r.u16()?, end: r.u16()? })
}

fn selector(protocol: u8, ports: PortRange, start: IpAddr, end: IpAddr) -> Result<TrafficSelector, DecodeError> {
    // Of the ranges that run backwards only OPAQUE has a meaning (RFC 7296 §3.13.1).
    if ports.start > ports.end && ports != PortRange::OPAQUE {
        return Err(DecodeError::BadRange);
    }
    let addresses = AddrRange::new(start, end).ok_or(DecodeError::BadRange)?;
    Ok(TrafficSelector { addresses, protocol, ports })
}

impl Encode for Ts<'_> {
    fn encode(&self, w: &mut Writer) {
        let count = self.selectors.len().saturating_add(self.unknown.len());
        w.u8(u8::try_from(count).unwrap_or(u8::MAX));
        w.bytes(&[0; 3]);
        for selector in &self.selectors {
            let (start, end) = (selector.addresses.start(), selector.addresses.end());
            let kind = if start.is_ipv4() { TsType::IPV4_ADDR_RANGE } else { TsType::IPV6_ADDR_RANGE };
            w.nested(&[kind.0, selector.protocol], |w| {
                w.u16(selector.ports.start);
                w.u16(selector.ports.end);
                for address in [start, end] {
                    match address {
                        IpAddr::V4(v4) => w.bytes(&v4.octets()),
                        IpAddr::V6(v6) => w.bytes(&v6.octets()),
                    }
                }
            });
        }
        for unknown in &self.unknown {
            w.nested(&[unknown.kind.0, unknown.protocol], |w| w.bytes(unknown.body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10.1.0.0/16 any, and ::/0 TCP port 80.
    const TWO: [u8; 60] = [
        2, 0, 0, 0, //
        7, 0, 0, 16, 0, 0, 255, 255, 10, 1, 0, 0, 10, 1, 255, 255, //
        8, 6, 0, 40, 0, 80, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    ];

    fn decode(octets: &[u8]) -> Result<Ts<'_>, DecodeError> {
        let mut r = Reader::new(octets);
        let ts = Ts::decode(&mut r)?;
        r.finish()?;
        Ok(ts)
    }

    #[test]
    fn known_octets() {
        let ts = decode(&TWO).unwrap();
        let expected: Vec<TrafficSelector> = ["10.1.0.0/16", "::/0[tcp/80]"].map(|text| text.parse().unwrap()).into();
        assert_eq!(ts, expected.into());
        let mut w = Writer::new();
        ts.encode(&mut w);
        assert_eq!(w.as_slice(), TWO);
    }

    #[test]
    fn ranges_must_not_run_backwards_but_opaque_may() {
        let with = |at: usize, value: u8| {
            let mut octets = TWO;
            octets[at] = value;
            decode(&octets).map(drop)
        };
        assert_eq!(with(12, 11), Err(DecodeError::BadRange), "address");
        assert_eq!(with(24, 1), Err(DecodeError::BadRange), "port");
        let mut octets = TWO;
        octets[8..12].copy_from_slice(&[255, 255, 0, 0]);
        assert_eq!(decode(&octets).unwrap().selectors[0].ports, PortRange::OPAQUE);
    }

    #[test]
    fn lengths_and_counts_must_agree() {
        let with = |at: usize, value: u8| {
            let mut octets = TWO;
            octets[at] = value;
            decode(&octets).map(drop).unwrap_err()
        };
        assert_eq!(with(0, 1), DecodeError::TrailingOctets);
        assert_eq!(with(0, 3), DecodeError::Truncated);
        assert_eq!(with(0, 129), DecodeError::TooMany("traffic selectors"));
        assert_eq!(with(7, 15), DecodeError::Truncated);
        assert_eq!(with(7, 17), DecodeError::TrailingOctets);
        assert_eq!(with(7, 3), DecodeError::BadLength);
    }

    #[test]
    fn unknown_types_are_kept_apart() {
        let octets = [1, 0, 0, 0, 10, 0, 0, 6, 1, 2];
        let ts = decode(&octets).unwrap();
        assert!(ts.selectors.is_empty());
        assert_eq!(ts.unknown, [UnknownSelector { kind: TsType::SECLABEL, protocol: 0, body: &[1, 2] }]);
    }
}
