//! Control messages: what travels beside a datagram between the kernel and us (`cmsg(3)`), as octets.
//!
//! ```text
//! length of all, usize │ level, i32 │ type, i32 │ data, padded to a multiple of a usize
//! ```

use std::net::IpAddr;

use nix::libc;

/// Octets of the head of a control message.
const HEAD: usize = size_of::<usize>() + 8;
/// Room for the control messages of one datagram, octets.
const ROOM: usize = 256;

/// The control messages of one datagram.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control {
    octets: [u8; ROOM],
    len: usize,
}

/// What the kernel says about a datagram that arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The address it was sent to.
    pub(super) local: Option<IpAddr>,
    /// TOS octet or traffic class.
    pub(super) traffic_class: Option<u8>,
    /// Several datagrams of this size were coalesced, octets.
    pub(super) segment: Option<usize>,
    /// It is an error about a datagram that we sent.
    pub(super) error: Option<IcmpError>,
}

/// An entry of the error queue: `struct sock_extended_err`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IcmpError {
    /// As an `errno`.
    pub(super) errno: u32,
    /// Whether it came from the network, and not from this host.
    pub(super) remote: bool,
    /// With `EMSGSIZE`, the MTU.
    pub(super) info: u32,
}

const fn padded(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

impl Control {
    /// None.
    pub(super) const EMPTY: Self = Self { octets: [0; ROOM], len: 0 };

    /// Appends one; what finds no room is left out, which no combination of the callers reaches.
    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let len = HEAD + data.len();
        let Some(slot) = self.octets.get_mut(self.len..self.len + padded(len)) else { return };
        let (head, rest) = slot.split_at_mut(HEAD);
        let (head_len, names) = head.split_at_mut(size_of::<usize>());
        head_len.copy_from_slice(&len.to_ne_bytes());
        let (head_level, head_kind) = names.split_at_mut(4);
        head_level.copy_from_slice(&level.to_ne_bytes());
        head_kind.copy_from_slice(&kind.to_ne_bytes());
        if let Some(body) = rest.get_mut(..data.len()) {
            body.copy_from_slice(data);
        }
        self.len += padded(len);
    }

    /// TOS octet or traffic class of the outer header.
    pub(super) fn traffic_class(&mut self, v4: bool, value: u8) {
        let (level, kind) = match v4 {
            true => (libc::IPPROTO_IP, libc::IP_TOS),
            false => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        };
        self.push(level, kind, &i32::from(value).to_ne_bytes());
    }

    /// Source address: `struct in_pktinfo`, `struct in6_pktinfo`.
    pub(super) fn source(&mut self, address: IpAddr) {
        let mut info = [0; 20];
        match address {
            IpAddr::V4(v4) => {
                info[4..8].copy_from_slice(&v4.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info[..12]);
            }
            IpAddr::V6(v6) => {
                info[..16].copy_from_slice(&v6.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    /// The contents are several datagrams of `octets` each.
    pub(super) fn segment(&mut self, octets: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &octets.to_ne_bytes());
    }

    /// What was put in.
    pub(super) fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// All the room there is, for the kernel to fill.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.octets
    }
}

/// One field of a message.
fn field<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at + N)?.try_into().ok()
}

/// Reads what the kernel wrote; what is not asked about is passed over.
pub(super) fn facts(mut octets: &[u8]) -> Facts {
    let mut facts = Facts::default();
    while let Some((level, kind, data, rest)) = message(octets) {
        octets = rest;
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) => facts.traffic_class = data.first().copied(),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                facts.traffic_class = field(data, 0).and_then(|value| u8::try_from(i32::from_ne_bytes(value)).ok());
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => facts.local = field::<4>(data, 8).map(IpAddr::from),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => facts.local = field::<16>(data, 0).map(IpAddr::from),
            (libc::SOL_UDP, libc::UDP_GRO) => {
                facts.segment = field(data, 0).and_then(|value| usize::try_from(i32::from_ne_bytes(value)).ok());
            }
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                facts.error = icmp_error(data);
            }
            _ => {}
        }
    }
    facts
}

/// Level, type, data of the first message, and what follows it.
fn message(octets: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(field(octets, 0)?);
    let level = i32::from_ne_bytes(field(octets, size_of::<usize>())?);
    let kind = i32::from_ne_bytes(field(octets, size_of::<usize>() + 4)?);
    let data = octets.get(HEAD..len)?;
    Some((level, kind, data, octets.get(padded(len)..).unwrap_or_default()))
}

fn icmp_error(data: &[u8]) -> Option<IcmpError> {
    let errno = u32::from_ne_bytes(field(data, 0)?);
    let [origin] = field(data, 4)?;
    let info = u32::from_ne_bytes(field(data, 8)?);
    let remote = origin == libc::SO_EE_ORIGIN_ICMP || origin == libc::SO_EE_ORIGIN_ICMP6;
    Some(IcmpError { errno, remote, info })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What we tell the kernel about a datagram reads as what it tells us, but for the place of an IPv4 address.
    #[test]
    fn what_is_written_can_be_read() {
        let mut control = Control::EMPTY;
        control.traffic_class(false, 0xb9);
        control.source([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into());
        control.segment(1400);
        let expected = Facts {
            local: Some("2001:db8::1".parse().expect("an address")),
            traffic_class: Some(0xb9),
            ..Facts::default()
        };
        assert_eq!(facts(control.octets()), expected);
        assert_eq!(control.octets().len(), padded(HEAD + 4) + padded(HEAD + 20) + padded(HEAD + 2));
        let mut control = Control::EMPTY;
        control.traffic_class(true, 0xb9);
        assert_eq!(facts(control.octets()).traffic_class, Some(0xb9));
    }

    #[test]
    fn an_entry_of_the_error_queue_is_read() {
        let mut control = Control::EMPTY;
        let mut data = [0; 32];
        data[..4].copy_from_slice(&(libc::EMSGSIZE as u32).to_ne_bytes());
        data[4] = libc::SO_EE_ORIGIN_ICMP;
        data[8..12].copy_from_slice(&1400_u32.to_ne_bytes());
        control.push(libc::IPPROTO_IP, libc::IP_RECVERR, &data);
        let error = IcmpError { errno: libc::EMSGSIZE as u32, remote: true, info: 1400 };
        assert_eq!(facts(control.octets()).error, Some(error));
    }

    #[test]
    fn more_than_there_is_room_for_is_left_out() {
        let mut control = Control::EMPTY;
        for _ in 0..20 {
            control.source([0; 16].into());
        }
        assert!(control.octets().len() <= ROOM);
        assert!(facts(control.octets()).local.is_some());
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..64), len in 0_usize..80) {
            let mut octets = octets;
            if let Some(head) = octets.get_mut(..size_of::<usize>()) {
                head.copy_from_slice(&len.to_ne_bytes());
            }
            let _ = facts(&octets);
        }
    }
}
