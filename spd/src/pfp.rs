//! "Populate from packet": selectors that an SA takes from its first packet (RFC 4301 §4.4.1.2).

use crate::flow::{Direction, Flow, Ports};
use crate::ports::PortRange;
use crate::range::AddrRange;
use crate::selector::Selector;
use crate::traffic_selector::TrafficSelector;

/// Which selectors of an SA are taken from the packet that asks for it instead of from the policy: "populate from
/// packet" (RFC 4301 §4.4.1.2). An SA per value results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Pfp {
    /// Address of our side.
    pub local_address: bool,
    /// Address of the peer's side.
    pub remote_address: bool,
    /// Next layer protocol.
    pub protocol: bool,
    /// Port of our side, or ICMP type and code.
    pub local_port: bool,
    /// Port of the peer's side, or ICMP type and code.
    pub remote_port: bool,
}

impl Pfp {
    /// Whether no field is taken from the packet: one SA serves the whole policy.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an SA takes a port, or what stands in for it, from its packet: fragments have to be reassembled first.
    pub fn needs_ports(&self) -> bool {
        self.local_port || self.remote_port
    }

    /// Whether a policy may have these flags. A port that can't be seen can't be taken from a packet: such a policy
    /// is a mistake (RFC 4301 §4.4.2.2, third footnote of the table).
    pub fn fits(&self, policy: &Selector) -> bool {
        let opaque = |side: &[TrafficSelector]| side.iter().any(|ts| ts.ports.is_opaque());
        !(self.local_port && opaque(&policy.local) || self.remote_port && opaque(&policy.remote))
    }

    /// The selectors to ask for when `flow` needs an SA of `policy` (RFC 4301 §4.4.2.2): the packet's values for the
    /// flagged fields, the policy's for the others. The result is within the policy's and contains the packet.
    ///
    /// - A port means something only within a protocol, so a flagged port takes the protocol along.
    /// - ICMP has one type and code, which belong to the sender's side: only that side's flag takes them, and the
    ///   other side keeps the policy's, so that an echo request's SA carries the reply too.
    /// - Protocols without ports have nothing to take: the policy's ports stay.
    /// - With any flag, the SA is for the packet's address family.
    ///
    /// `None` if the packet has to be discarded: its flagged ports are in another fragment, or the policy does not
    /// select it.
    pub fn populate(&self, policy: &Selector, flow: &Flow) -> Option<Selector> {
        if self.needs_ports() && flow.ports == Ports::Opaque {
            return None;
        }
        let asked = if self.is_none() { policy.clone() } else { policy.intersect(&self.wanted(flow))? };
        asked.contains(flow).then_some(asked)
    }

    /// The packet's values where flagged, else everything.
    fn wanted(&self, flow: &Flow) -> Selector {
        let (local, remote) = flow.selectors();
        let one_for_both = matches!(flow.ports, Ports::Icmp { .. } | Ports::Mobility { .. });
        let side = |packet: TrafficSelector, address: bool, port: bool, sends: bool| {
            let any = if packet.addresses.is_ipv4() { AddrRange::ANY_V4 } else { AddrRange::ANY_V6 };
            let protocol = self.protocol || self.needs_ports();
            vec![TrafficSelector {
                addresses: if address { packet.addresses } else { any },
                protocol: if protocol { packet.protocol } else { 0 },
                ports: if port && (sends || !one_for_both) { packet.ports } else { PortRange::ANY },
            }]
        };
        let outbound = flow.direction == Direction::Outbound;
        Selector {
            local: side(local, self.local_address, self.local_port, outbound),
            remote: side(remote, self.remote_address, self.remote_port, !outbound),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::selector::tests::{any_flow, any_pair, selector};

    const NONE: Pfp =
        Pfp { local_address: false, remote_address: false, protocol: false, local_port: false, remote_port: false };

    fn tcp() -> Flow {
        Flow {
            direction: Direction::Outbound,
            local: [10, 0, 0, 1].into(),
            remote: [10, 1, 0, 2].into(),
            protocol: 6,
            ports: Ports::Pair { local: 40000, remote: 80 },
        }
    }

    fn ping() -> Flow {
        Flow { protocol: 1, ports: Ports::Icmp { kind: 8, code: 0 }, ..tcp() }
    }

    #[test]
    fn flagged_fields_are_the_packets_and_the_others_the_policys() {
        let policy =
            selector("10.0.0.0/16[tcp] 10.0.0.0/16[udp] 2001:db8::/32", "10.1.0.0/16[tcp/1-1023] 10.1.0.0/16[udp]");
        let cases = [
            (NONE, policy.clone()),
            (
                Pfp { local_address: true, ..NONE },
                selector("10.0.0.1[tcp] 10.0.0.1[udp]", "10.1.0.0/16[tcp/1-1023] 10.1.0.0/16[udp]"),
            ),
            (
                Pfp { remote_address: true, ..NONE },
                selector("10.0.0.0/16[tcp] 10.0.0.0/16[udp]", "10.1.0.2[tcp/1-1023] 10.1.0.2[udp]"),
            ),
            (Pfp { protocol: true, ..NONE }, selector("10.0.0.0/16[tcp]", "10.1.0.0/16[tcp/1-1023]")),
            (Pfp { local_port: true, ..NONE }, selector("10.0.0.0/16[tcp/40000]", "10.1.0.0/16[tcp/1-1023]")),
            (Pfp { remote_port: true, ..NONE }, selector("10.0.0.0/16[tcp]", "10.1.0.0/16[tcp/80]")),
            (
                Pfp { local_address: true, remote_address: true, protocol: true, local_port: true, remote_port: true },
                selector("10.0.0.1[tcp/40000]", "10.1.0.2[tcp/80]"),
            ),
        ];
        for (pfp, expected) in cases {
            assert_eq!(pfp.populate(&policy, &tcp()), Some(expected), "{pfp:?}");
        }
    }

    #[test]
    fn a_flagged_port_names_its_protocol() {
        let pfp = Pfp { remote_port: true, ..NONE };
        let any = selector("0.0.0.0/0", "0.0.0.0/0");
        assert_eq!(pfp.populate(&any, &tcp()), Some(selector("0.0.0.0/0[tcp]", "0.0.0.0/0[tcp/80]")));
        let esp = Flow { protocol: 50, ports: Ports::None, ..tcp() };
        assert_eq!(pfp.populate(&any, &esp), Some(selector("0.0.0.0/0[esp]", "0.0.0.0/0[esp]")));
    }

    #[test]
    fn icmp_type_and_code_are_the_senders() {
        let any = selector("0.0.0.0/0", "0.0.0.0/0");
        let both = Pfp { local_port: true, remote_port: true, ..NONE };
        let sa = both.populate(&any, &ping()).unwrap();
        assert_eq!(sa, selector("0.0.0.0/0[icmp/8]", "0.0.0.0/0[icmp]"));
        let reply = Flow { direction: Direction::Inbound, ports: Ports::Icmp { kind: 0, code: 0 }, ..ping() };
        assert!(sa.contains(&reply));
        let inbound = Flow { direction: Direction::Inbound, ..ping() };
        assert_eq!(both.populate(&any, &inbound), Some(selector("0.0.0.0/0[icmp]", "0.0.0.0/0[icmp/8]")));
    }

    #[test]
    fn what_cannot_be_seen_cannot_be_taken() {
        let fragment = Flow { ports: Ports::Opaque, ..tcp() };
        let any = selector("0.0.0.0/0", "0.0.0.0/0");
        assert_eq!(Pfp { local_port: true, ..NONE }.populate(&any, &fragment), None);
        let address = Pfp { local_address: true, ..NONE };
        assert_eq!(address.populate(&any, &fragment), Some(selector("10.0.0.1", "0.0.0.0/0")));

        let opaque = selector("0.0.0.0/0[tcp/opaque]", "0.0.0.0/0[tcp]");
        assert!(!Pfp { local_port: true, ..NONE }.fits(&opaque));
        assert!(Pfp { remote_port: true, local_address: true, ..NONE }.fits(&opaque));
    }

    #[test]
    fn a_packet_of_another_policy_asks_for_nothing() {
        assert_eq!(NONE.populate(&selector("10.0.0.9", "10.1.0.0/16"), &tcp()), None);
        assert_eq!(Pfp { protocol: true, ..NONE }.populate(&selector("10.0.0.0/16[udp]", "10.1.0.0/16"), &tcp()), None);
    }

    proptest! {
        #[test]
        fn the_result_is_within_the_policy_and_has_the_packet(
            policy in any_pair(), flow in any_flow(), flags: [bool; 5], others in prop::collection::vec(any_flow(), 16)
        ) {
            let [local_address, remote_address, protocol, local_port, remote_port] = flags;
            let pfp = Pfp { local_address, remote_address, protocol, local_port, remote_port };
            let hidden = pfp.needs_ports() && flow.ports == Ports::Opaque;
            let asked = pfp.populate(&policy, &flow);
            prop_assert_eq!(asked.is_some(), policy.contains(&flow) && !hidden);
            let Some(asked) = asked else { return Ok(()) };
            prop_assert!(asked.contains(&flow));
            for other in others {
                prop_assert!(!asked.contains(&other) || policy.contains(&other));
                if asked.contains(&other) {
                    prop_assert!(!local_address || other.local == flow.local);
                    prop_assert!(!remote_address || other.remote == flow.remote);
                    prop_assert!(!protocol || other.protocol == flow.protocol);
                }
            }
        }
    }
}
