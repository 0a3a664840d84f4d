//! What must arrive, and what did: octet for octet, in order within each flow, once.

use std::collections::{BTreeMap, VecDeque};

use super::packet::TCP;
use super::plan::{Checksum, Expected};
use crate::failure::{Result, fail};

/// Routers on the way that count down the hop limit: both gateways.
const HOPS: u8 = 2;
/// Packets of a flow that are remembered, to tell one that comes twice.
const REMEMBERED: usize = 64;

/// A flow has addresses of its own: the last octets of both, and the version.
type Flow = [u8; 3];

/// The account of all flows.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    flows: BTreeMap<Flow, Account>,
    packets: usize,
    octets: usize,
}

#[derive(Debug, Default)]
struct Account {
    waiting: VecDeque<Expected>,
    arrived: VecDeque<Vec<u8>>,
}

impl Arrivals {
    /// From now on this packet must arrive, after those of its flow before it.
    pub(super) fn expect(&mut self, packet: &Expected) {
        let mut octets = packet.octets.clone();
        let hop_limit = if octets[0] >> 4 == 6 { 7 } else { 8 };
        octets[hop_limit] -= HOPS;
        self.packets += 1;
        self.octets += octets.len();
        let account = self.flows.entry(flow(&octets)).or_default();
        account.waiting.push_back(Expected { octets: comparable(&octets), checksum: packet.checksum });
    }

    /// Packets that have not arrived.
    pub(super) fn missing(&self) -> usize {
        self.packets
    }

    /// Octets of those.
    pub(super) fn octets_missing(&self) -> usize {
        self.octets
    }

    /// A packet arrived; what is known of its checksum.
    ///
    /// # Errors
    /// If it is not the next one of its flow.
    pub(super) fn arrived(&mut self, packet: &[u8]) -> Result<Checksum> {
        let (key, octets) = (flow(packet), comparable(packet));
        let Some(account) = self.flows.get_mut(&key) else { fail!("of no flow of ours: {}", shown(&octets)) };
        match account.waiting.front() {
            Some(next) if is_same(&next.octets, &octets) => {}
            _ if account.arrived.contains(&octets) => fail!("came twice: {}", shown(&octets)),
            None => fail!("nothing more was sent in flow {key:?}: {}", shown(&octets)),
            Some(next) => {
                if let Some(at) = account.waiting.iter().position(|later| is_same(&later.octets, &octets)) {
                    fail!("{at} packets of flow {key:?} lost or overtaken, the first: {}", shown(&next.octets));
                }
                let at = next.octets.iter().zip(&octets).position(|(a, b)| a != b);
                let (want, got) = (shown(&next.octets), shown(&octets));
                fail!("changed on the way, first at octet {at:?}:\n  expected {want}\n  arrived  {got}");
            }
        }
        let checksum = account.waiting.pop_front().map_or(Checksum::Good, |next| next.checksum);
        self.packets -= 1;
        self.octets -= octets.len();
        account.arrived.push_back(octets);
        if account.arrived.len() > REMEMBERED {
            account.arrived.pop_front();
        }
        Ok(checksum)
    }

    /// Fails if something has not arrived.
    pub(super) fn finish(&self) -> Result<()> {
        let left = self.flows.iter().filter_map(|(flow, account)| Some((flow, account.waiting.front()?)));
        match self.packets {
            0 => Ok(()),
            count => fail!(
                "{count} packets were lost, the first of each flow: {}",
                left.map(|(flow, next)| format!("{flow:?} {}", shown(&next.octets))).collect::<Vec<_>>().join(", ")
            ),
        }
    }
}

fn flow(packet: &[u8]) -> Flow {
    if packet[0] >> 4 == 6 { [6, packet[23], packet[39]] } else { [4, packet[15], packet[19]] }
}

/// What must be the same: all but the checksum of the IPv4 header, which the reader looks at, and identifications without
/// meaning (RFC 6864 §4.1).
fn comparable(packet: &[u8]) -> Vec<u8> {
    let mut octets = packet.to_vec();
    if octets[0] >> 4 == 4 {
        octets[10..12].fill(0);
        if octets[6] & 0x40 != 0 {
            octets[4..6].fill(0);
        }
    }
    octets
}

/// The checksum of TCP has two ways to write zero.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let is_tcp = |packet: &[u8]| if packet[0] >> 4 == 6 { packet[6] == TCP } else { packet[9] == TCP };
    if a == b || a.len() != b.len() || !is_tcp(a) || !is_tcp(b) {
        return a == b;
    }
    let place = 16 + if a[0] >> 4 == 6 { 40 } else { usize::from(a[0] & 15) * 4 };
    let zero = |packet: &[u8]| matches!(packet[place..place + 2], [0, 0] | [0xff, 0xff]);
    zero(a) && zero(b) && a[..place] == b[..place] && a[place + 2..] == b[place + 2..]
}

/// The beginning of a packet, for people.
fn shown(packet: &[u8]) -> String {
    let octets: Vec<String> = packet.iter().take(96).map(|octet| format!("{octet:02x}")).collect();
    format!("{} octets, {}", packet.len(), octets.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Ip, Tcp, flag};
    use super::*;

    /// The `n`th packet as sent, and as it arrives.
    fn packets(n: u8) -> (Expected, Vec<u8>) {
        let tcp = Tcp::new(flag::ACK, n.into(), vec![n; 50]);
        let octets = tcp.packet(&Ip::new(false, 1));
        let arrives = tcp.packet(&Ip { hop_limit: 62, identification: 7, ..Ip::new(false, 1) });
        (Expected { octets, checksum: Checksum::Good }, arrives)
    }

    /// What is said when those of `order` arrive, of five that were sent.
    fn outcome(order: &[u8], change: impl Fn(&mut Vec<u8>)) -> String {
        let mut arrivals = Arrivals::default();
        (0..5).for_each(|n| arrivals.expect(&packets(n).0));
        let mut all = order.iter().map(|&n| packets(n).1);
        let result = all.try_for_each(|mut packet| {
            change(&mut packet);
            arrivals.arrived(&packet).map(drop)
        });
        result.and_then(|()| arrivals.finish()).map_or_else(|cause| cause.to_string(), |()| "all there".to_owned())
    }

    #[test]
    fn tells_what_happened_to_packets() {
        assert_eq!(outcome(&[0, 1, 2, 3, 4], |_| {}), "all there");
        for (order, told) in [
            (&[0, 1, 3][..], "1 packets of flow [4, 1, 1] lost or overtaken"),
            (&[0, 1, 1], "came twice"),
            (&[0, 1, 2, 3], "1 packets were lost"),
            (&[0, 1, 2, 3, 4, 4], "came twice"),
            (&[9], "changed on the way"),
        ] {
            assert!(outcome(order, |_| {}).starts_with(told), "{order:?}: {}", outcome(order, |_| {}));
        }
        // Each octet but those of the header's checksum and the identification.
        for at in (0..90).filter(|at| !matches!(at, 4 | 5 | 10 | 11)) {
            assert_ne!(outcome(&[0, 1, 2, 3, 4], |packet| packet[at] ^= 1), "all there", "octet {at}");
        }
    }
}
