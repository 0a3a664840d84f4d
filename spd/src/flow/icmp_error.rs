//! ICMP errors (RFC 4301 §6): they belong to the SA pair of the packet they are about.
//!
//! An error comes from anywhere on the path, so its own addresses often match no SA. RFC 4301 §6.2 has it go through
//! the SA that would carry the return traffic of the packet that triggered it, and has the receiver check that the SA
//! is that one: the headers within the error, reversed, must match the SA's selectors.

use super::{Direction, Flow, Headers, Ports, ports};
use crate::protocol::{ICMP, ICMPV6};
use crate::selector::Selector;

/// Octets of an ICMP error before the packet it is about (RFC 792, RFC 4443 §3).
const ERROR_HEADER: usize = 8;

impl Flow {
    /// The flow of the packet that an ICMP error is about, as the SA pair of that packet sees it: an outbound packet
    /// for an error that arrives. So no reversal is left to do: "the return traffic of the packet" and the packet are
    /// one SA pair, whose [`Selector`] is compared with the result, and whose policy is looked up by it.
    ///
    /// The enclosed packet may be cut anywhere behind its addresses and protocol; ports that are not there are
    /// [`Ports::Opaque`], which only selectors without ports match.
    ///
    /// `None` if `packet` is not an error (RFC 792: destination unreachable, source quench, time exceeded, parameter
    /// problem; RFC 4443: types 1 to 4), can't be read, or is addressed to another than the sender of the packet it
    /// encloses: errors go to nobody else, and a peer must not reach other hosts by enclosing what passes.
    pub fn of_icmp_error(packet: &[u8], direction: Direction) -> Option<Self> {
        let error = Headers::parse::<false>(packet).ok()?;
        let message = error.upper?;
        let is_error = match (error.protocol, error.source.is_ipv4(), *message.first()?) {
            (ICMP, true, kind) => matches!(kind, 3 | 4 | 11 | 12),
            (ICMPV6, false, kind) => matches!(kind, 1..=4),
            _ => false,
        };
        let enclosed = Headers::parse::<true>(message.get(ERROR_HEADER..).filter(|_| is_error)?).ok()?;
        // Both families at once: addresses of different ones are never equal.
        if enclosed.source != error.destination {
            return None;
        }
        let opposite = match direction {
            Direction::Outbound => Direction::Inbound,
            Direction::Inbound => Direction::Outbound,
        };
        let upper = enclosed.upper.and_then(|upper| ports(enclosed.protocol, upper, opposite).ok());
        Some(enclosed.flow(opposite, upper.unwrap_or(Ports::Opaque)))
    }
}

impl Flow {
    /// The flow of a packet of which only the start is there, cut as one within an ICMP error may be: ports that are
    /// not there are [`Ports::Opaque`]. `None` if not even its addresses can be read.
    pub fn of_start(packet: &[u8], direction: Direction) -> Option<Self> {
        let headers = Headers::parse::<true>(packet).ok()?;
        let upper = headers.upper.and_then(|upper| ports(headers.protocol, upper, direction).ok());
        Some(headers.flow(direction, upper.unwrap_or(Ports::Opaque)))
    }
}

impl Selector {
    /// Whether a packet may pass an SA of these selectors that don't [`contain`](Self::contains) it: it is an ICMP
    /// error about a packet of this SA's pair (RFC 4301 §6.2). To be asked only of packets that failed the check for
    /// their own sake; what fails this one too is discarded and audited.
    pub fn admits_icmp_error(&self, packet: &[u8], direction: Direction) -> bool {
        Flow::of_icmp_error(packet, direction).is_some_and(|flow| self.contains(&flow))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::flow::tests::{extension, fragment, v4, v6};
    use crate::selector::tests::selector;

    /// TCP from port 40000 to port 80, and the rest of its header.
    const TCP: [u8; 20] = [0x9c, 0x40, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0];
    const ROUTER: [u8; 4] = [192, 0, 2, 7];
    const HERE: [u8; 4] = [10, 0, 0, 1];
    const THERE: [u8; 4] = [10, 1, 0, 2];

    fn address4(packet: &mut [u8], source: [u8; 4], destination: [u8; 4]) {
        packet[12..16].copy_from_slice(&source);
        packet[16..20].copy_from_slice(&destination);
    }

    fn address6(packet: &mut [u8], source: u8, destination: u8) {
        packet[8..40].fill(0xfd);
        packet[23] = source;
        packet[39] = destination;
    }

    fn ip6(last: u8) -> IpAddr {
        let mut octets = [0xfd; 16];
        octets[15] = last;
        octets.into()
    }

    fn error(kind: u8, enclosed: &[u8]) -> Vec<u8> {
        [&[kind, 0, 0, 0, 0, 0, 0, 0], enclosed].concat()
    }

    /// About `enclosed`, from a router to `to`.
    fn error4(kind: u8, to: [u8; 4], enclosed: &[u8]) -> Vec<u8> {
        let mut packet = v4(1, &[], 0, &error(kind, enclosed));
        address4(&mut packet, ROUTER, to);
        packet
    }

    fn error6(kind: u8, to: u8, enclosed: &[u8]) -> Vec<u8> {
        let mut packet = v6(58, &error(kind, enclosed));
        address6(&mut packet, 7, to);
        packet
    }

    fn sent4() -> Vec<u8> {
        let mut packet = v4(6, &[], 0, &TCP);
        address4(&mut packet, HERE, THERE);
        packet
    }

    fn sent6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = v6(next, payload);
        address6(&mut packet, 1, 2);
        packet
    }

    const PAIR: Ports = Ports::Pair { local: 40000, remote: 80 };

    #[test]
    fn an_error_that_arrives_is_about_what_left() {
        let flow =
            Flow { direction: Direction::Outbound, local: HERE.into(), remote: THERE.into(), protocol: 6, ports: PAIR };
        assert_eq!(Flow::of_icmp_error(&error4(3, HERE, &sent4()), Direction::Inbound), Some(flow));
        assert_eq!(Flow::parse(&sent4(), Direction::Outbound), Ok(flow));
        let six = Flow { local: ip6(1), remote: ip6(2), ..flow };
        assert_eq!(Flow::of_icmp_error(&error6(2, 1, &sent6(6, &TCP)), Direction::Inbound), Some(six));
    }

    #[test]
    fn an_error_that_leaves_is_about_what_arrived() {
        let flow = Flow::of_icmp_error(&error4(11, HERE, &sent4()), Direction::Outbound).unwrap();
        assert_eq!(Ok(flow), Flow::parse(&sent4(), Direction::Inbound));
        assert_eq!((flow.local, flow.remote), (THERE.into(), HERE.into()));
    }

    #[test]
    fn errors_are_of_certain_types() {
        let is_error = |packet: &[u8]| Flow::of_icmp_error(packet, Direction::Inbound).is_some();
        for kind in 0..=255 {
            assert_eq!(is_error(&error4(kind, HERE, &sent4())), [3, 4, 11, 12].contains(&kind), "{kind}");
            assert_eq!(is_error(&error6(kind, 1, &sent6(6, &TCP))), (1..=4).contains(&kind), "{kind}");
        }
        let with_protocol = |mut packet: Vec<u8>, at: usize, protocol| {
            packet[at] = protocol;
            is_error(&packet)
        };
        assert!(!with_protocol(error4(3, HERE, &sent4()), 9, 58));
        assert!(!with_protocol(error4(3, HERE, &sent4()), 9, 17));
        assert!(!with_protocol(error6(3, 1, &sent6(6, &TCP)), 6, 1));
        assert!(!is_error(&error4(3, HERE, &sent6(6, &TCP))), "one family");
        let mut piece = error4(3, HERE, &sent4());
        piece[7] = 9;
        assert!(!is_error(&piece), "another fragment has the type");
    }

    #[test]
    fn an_error_goes_to_the_sender_of_what_it_is_about() {
        assert_eq!(Flow::of_icmp_error(&error4(3, [10, 0, 0, 9], &sent4()), Direction::Inbound), None);
        assert_eq!(Flow::of_icmp_error(&error6(3, 9, &sent6(6, &TCP)), Direction::Inbound), None);
    }

    #[test]
    fn enclosed_packets_may_be_cut() {
        let seen = |packet: &[u8]| Flow::of_icmp_error(packet, Direction::Inbound).map(|f| (f.protocol, f.ports));
        for len in 0..=40 {
            let expected = match len {
                0..20 => None,
                20..24 => Some((6, Ports::Opaque)),
                _ => Some((6, PAIR)),
            };
            assert_eq!(seen(&error4(3, HERE, &sent4()[..len])), expected, "{len}");
        }
        let long = sent6(60, &[&extension(6, 1)[..], &TCP].concat());
        for len in 0..=76 {
            let expected = match len {
                0..56 => None,
                56..60 => Some((6, Ports::Opaque)),
                _ => Some((6, PAIR)),
            };
            assert_eq!(seen(&error6(1, 1, &long[..len])), expected, "{len}");
        }
        // RFC 4884 pads it with zeros, which are no ports.
        let mut short = sent4();
        short[3] = 22;
        assert_eq!(seen(&error4(3, HERE, &short)), Some((6, Ports::Opaque)));
        let later = sent6(44, &[&fragment(6, 2, false)[..], &TCP].concat());
        assert_eq!(seen(&error6(1, 1, &later)), Some((6, Ports::Opaque)));
    }

    #[test]
    fn an_sa_admits_errors_about_its_own_packets() {
        let arrives = error4(3, HERE, &sent4());
        let admits =
            |local, remote, packet: &[u8]| selector(local, remote).admits_icmp_error(packet, Direction::Inbound);
        assert!(
            !selector("10.0.0.0/24[tcp]", "10.1.0.0/24[tcp/80]")
                .contains(&Flow::parse(&arrives, Direction::Inbound).unwrap())
        );
        assert!(admits("10.0.0.0/24[tcp]", "10.1.0.0/24[tcp/80]", &arrives));
        assert!(!admits("10.0.0.0/24[tcp]", "10.1.0.0/24[tcp/81]", &arrives), "another port");
        assert!(!admits("10.0.0.0/24[udp]", "10.1.0.0/24[udp]", &arrives), "another protocol");
        assert!(!admits("10.1.0.0/24", "10.0.0.0/24", &arrives), "the wrong way round");
        assert!(!admits("10.0.0.0/24", "10.1.0.0/24", &sent4()), "not an error");
        let cut = error4(3, HERE, &sent4()[..20]);
        assert!(admits("10.0.0.0/24", "10.1.0.0/24[tcp]", &cut));
        assert!(!admits("10.0.0.0/24", "10.1.0.0/24[tcp/80]", &cut), "the port can't be seen");

        let leaves = error4(11, THERE, &{
            let mut received = sent4();
            address4(&mut received, THERE, HERE);
            received
        });
        assert!(selector("10.0.0.0/24", "10.1.0.0/24[tcp/40000]").admits_icmp_error(&leaves, Direction::Outbound));
    }

    #[test]
    fn an_error_about_a_ping_is_held_against_what_was_sent() {
        let mut ping = v4(1, &[], 0, &[8, 0, 0, 0, 0, 0, 0, 0]);
        address4(&mut ping, HERE, THERE);
        let error = error4(3, HERE, &ping);
        let admits = |local, remote| selector(local, remote).admits_icmp_error(&error, Direction::Inbound);
        assert!(admits("10.0.0.0/24[icmp/8]", "10.1.0.0/24[icmp/0]"));
        assert!(!admits("10.0.0.0/24[icmp/0]", "10.1.0.0/24[icmp/8]"));
    }

    proptest! {
        #[test]
        fn no_octets_panic(mut octets in prop::collection::vec(any::<u8>(), 0..200), shape in 0u8..4) {
            if shape & 1 == 0 {
                octets = if shape == 0 { error4(3, HERE, &octets) } else { error6(3, 1, &octets) };
            }
            crate::fuzz::icmp_error(&octets);
        }

        // The oracle is the enclosed packet itself, read whole from the other side.
        #[test]
        fn the_flow_is_that_of_the_enclosed_packet(
            protocol in prop_oneof![Just(6u8), Just(17), Just(1), Just(50), any::<u8>()],
            upper: [u8; 8], options in 0usize..4, inbound: bool, kind in prop_oneof![Just(3u8), Just(11)],
        ) {
            let mut enclosed = v4(protocol, &vec![1; options * 4], 0, &upper);
            address4(&mut enclosed, HERE, THERE);
            let (direction, opposite) = match inbound {
                true => (Direction::Inbound, Direction::Outbound),
                false => (Direction::Outbound, Direction::Inbound),
            };
            let flow = Flow::of_icmp_error(&error4(kind, HERE, &enclosed), direction);
            prop_assert_eq!(flow, Flow::parse(&enclosed, opposite).ok());
        }
    }
}
