//! Addresses: of the outer links, with and without a router that translates between them, and of what is protected.
//!
//! ```text
//! no NAT      192.0.2.1 ours ────────────────────── theirs 192.0.2.2       (2001:db8::1, 2001:db8::2)
//! nat = ours  198.51.100.1 ours ── .254 router, 192.0.2.254 ── theirs 192.0.2.2
//! routed      192.0.2.1 ours ── .254 near 203.0.113.1 ── .2 far 198.51.100.254 ── theirs 198.51.100.2
//!             2001:db8::1       ::ff     2001:db8:3::1   ::2   2001:db8:2::ff      2001:db8:2::2
//! ```
//! The inner addresses are 10.1.0.1 and fd00:1::1 of ours, 10.2.0.1 and fd00:2::1 of theirs.

use crate::scenario::{Case, Mode, Nat, Outer, Who};

/// The router's addresses: towards the side behind it, and towards the other.
pub(crate) const ROUTER: [&str; 2] = ["198.51.100.254", "192.0.2.254"];

/// A router's addresses, IPv4 and IPv6.
#[derive(Debug)]
pub(crate) struct Routed {
    /// On the link of its host.
    pub(crate) host: [&'static str; 2],
    /// On the link between the routers.
    pub(crate) middle: [&'static str; 2],
    /// The other router's, there.
    pub(crate) next: [&'static str; 2],
}

/// The routers near us and near the peer.
pub(crate) const ROUTED: [Routed; 2] = {
    let (near, far) = (["203.0.113.1", "2001:db8:3::1"], ["203.0.113.2", "2001:db8:3::2"]);
    [
        Routed { host: ["192.0.2.254", "2001:db8::ff"], middle: near, next: far },
        Routed { host: ["198.51.100.254", "2001:db8:2::ff"], middle: far, next: near },
    ]
};

/// The fourth octet, or last group, of a side's addresses.
fn number(who: Who) -> u8 {
    match who {
        Who::Ours => 1,
        Who::Theirs => 2,
    }
}

/// A side's address on its outer link.
pub(crate) fn outer(nat: Nat, who: Who, family: Outer) -> String {
    match family {
        Outer::V4 if nat == Nat::Routed && who == Who::Theirs => "198.51.100.2".to_owned(),
        Outer::V6 if nat == Nat::Routed && who == Who::Theirs => "2001:db8:2::2".to_owned(),
        Outer::V4 if nat.inside() == Some(who) => format!("198.51.100.{}", number(who)),
        Outer::V4 => format!("192.0.2.{}", number(who)),
        Outer::V6 => format!("2001:db8::{}", number(who)),
    }
}

/// The outer address by which the other side reaches `who`.
pub(crate) fn seen(nat: Nat, who: Who, family: Outer) -> String {
    if nat.inside() == Some(who) { ROUTER[1].to_owned() } else { outer(nat, who, family) }
}

/// A side's inner address, which its network in the selectors holds.
pub(crate) fn inner(who: Who, family: Outer) -> String {
    match family {
        Outer::V4 => format!("10.{}.0.1", number(who)),
        Outer::V6 => format!("fd00:{}::1", number(who)),
    }
}

/// A side's inner network.
pub(crate) fn network(who: Who, family: Outer) -> String {
    match family {
        Outer::V4 => format!("10.{}.0.0/24", number(who)),
        Outer::V6 => format!("fd00:{}::/64", number(who)),
    }
}

/// How `who` speaks to the other side: its own address, and the one by which it knows the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    /// Source.
    pub(crate) from: String,
    /// Destination, as `who` writes it.
    pub(crate) to: String,
    /// The same host, by its own address.
    pub(crate) at: String,
}

/// All ways of protected traffic from `who`: inner IPv4 and IPv6, or in transport mode the outer family alone.
pub(crate) fn ways(case: &Case, who: Who) -> Vec<Way> {
    let peer = who.other();
    match case.mode {
        Mode::Tunnel => [Outer::V4, Outer::V6]
            .map(|family| Way { from: inner(who, family), to: inner(peer, family), at: inner(peer, family) })
            .to_vec(),
        Mode::Transport => vec![Way {
            from: outer(case.nat, who, case.outer),
            to: seen(case.nat, peer, case.outer),
            at: outer(case.nat, peer, case.outer),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_hides_the_side_behind_it() {
        assert_eq!(outer(Nat::Ours, Who::Ours, Outer::V4), "198.51.100.1");
        assert_eq!(seen(Nat::Ours, Who::Ours, Outer::V4), "192.0.2.254");
        assert_eq!(seen(Nat::Ours, Who::Theirs, Outer::V4), "192.0.2.2");
        assert_eq!(seen(Nat::None, Who::Theirs, Outer::V6), "2001:db8::2");
    }
}
