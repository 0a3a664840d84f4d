//! Transport mode (RFC 7296 §1.3.1) protects what the two hosts themselves say to each other: its selectors hold the
//! addresses of the path alone, and what protocols and ports are configured.
//!
//! Behind a NAT, the hosts have different ideas of these addresses (RFC 7296 §2.23.1). Whoever receives selectors puts
//! the addresses that it sees in place of those that stand there, but remembers those: the sender's checksums cover
//! them.
//!
//! ```text
//! initiator IP1 ──► NAT IPN1 ───────► NAT IPN2 ──► responder IP2
//!     TSi IP1, TSr IPN2 ──►           taken for TSi IPN1, TSr IP2; original: (we: IPN2, peer: IP1)
//!     original: (we: IPN1, peer: IP2) ◄── TSi IPN1, TSr IP2, taken for TSi IP1, TSr IPN2
//! ```
//!
//! If the NAT gives the peer another address later on, a child's selectors name one that is no more: it is rekeyed at
//! once, so that both sides agree on selectors anew. The port alone may change without that.

use std::net::IpAddr;

use cygnet_spd::{AddrRange, Selector, TrafficSelector, narrow};

use crate::sa::IkeSa;

/// What of `policy` the hosts of the path may say to each other. `None`: nothing.
pub(crate) fn between_hosts(sa: &IkeSa, policy: &Selector) -> Option<Selector> {
    let host = |address| vec![TrafficSelector::any(AddrRange::host(address))];
    let hosts = Selector { local: host(sa.path.local.ip()), remote: host(sa.path.remote.ip()) };
    let both = Selector { local: narrow(&policy.local, &hosts.local), remote: narrow(&policy.remote, &hosts.remote) };
    (!both.local.is_empty() && !both.remote.is_empty()).then_some(both)
}

/// The same protocols and ports between the hosts of the path as it is now.
pub(crate) fn moved(sa: &IkeSa, negotiated: &Selector) -> Selector {
    Selector { local: at(&negotiated.local, sa.path.local.ip()), remote: at(&negotiated.remote, sa.path.remote.ip()) }
}

/// Selectors as the peer sent them, ours and its own, in our terms; and the addresses before translation, ours and its
/// own, if there is a difference.
pub(crate) fn received(
    sa: &IkeSa,
    local: &[TrafficSelector],
    remote: &[TrafficSelector],
) -> (Selector, Option<(IpAddr, IpAddr)>) {
    let seen = (sa.path.local.ip(), sa.path.remote.ip());
    let (local, own) = substituted(local, sa.nat.local, seen.0);
    let (remote, peers) = substituted(remote, sa.nat.remote, seen.1);
    (Selector { local, remote }, Some((own, peers)).filter(|original| *original != seen))
}

/// One side: `seen` in place of the one host that stands there, if there is a NAT before it; and that host. Selectors
/// of further hosts have no meaning in transport mode, and are left out.
fn substituted(sent: &[TrafficSelector], natted: bool, seen: IpAddr) -> (Vec<TrafficSelector>, IpAddr) {
    match sent.first().filter(|ts| natted && ts.addresses.is_host()) {
        None => (sent.to_vec(), seen),
        Some(first) => {
            let of_host: Vec<_> = sent.iter().filter(|ts| ts.addresses == first.addresses).copied().collect();
            (at(&of_host, seen), first.addresses.start())
        }
    }
}

fn at(selectors: &[TrafficSelector], host: IpAddr) -> Vec<TrafficSelector> {
    let addresses = AddrRange::host(host);
    selectors.iter().map(|ts| TrafficSelector { addresses, ..*ts }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors(text: &str) -> Vec<TrafficSelector> {
        text.split(' ').map(|ts| ts.parse().unwrap()).collect()
    }

    #[test]
    fn only_the_one_host_behind_a_nat_is_replaced() {
        let seen = "198.51.100.7".parse().unwrap();
        let inside: IpAddr = "10.0.0.1".parse().unwrap();
        let sent = selectors("10.0.0.1/32[tcp/80] 10.0.0.1/32[udp] 10.0.0.2/32");
        let (taken, original) = substituted(&sent, true, seen);
        assert_eq!(taken, selectors("198.51.100.7/32[tcp/80] 198.51.100.7/32[udp]"));
        assert_eq!(original, inside);
        assert_eq!(substituted(&sent, false, seen), (sent, seen));
        let net = selectors("10.0.0.0/24");
        assert_eq!(substituted(&net, true, seen), (net, seen));
        assert_eq!(substituted(&[], true, seen), (vec![], seen));
    }
}
