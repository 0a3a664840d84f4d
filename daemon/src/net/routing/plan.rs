//! From policies to routes: which destinations go into the TUN device, and what becomes of them when it is gone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cygnet_spd::{Action, AddrRange, Level, Mode, Policies, Policy, PortRange, TrafficSelector};

use super::prefix::{Prefix, prefixes};

/// What never goes into the tunnel with the network around it: link-local traffic, multicast and broadcast belong to
/// the link. Who means them names them.
const EXCEPTED: [Prefix; 5] = [
    Prefix { address: IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), len: 16 },
    Prefix { address: IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), len: 4 },
    Prefix { address: IpAddr::V4(Ipv4Addr::BROADCAST), len: 32 },
    Prefix { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), len: 10 },
    Prefix { address: IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), len: 8 },
];

/// What to tell the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Name of the TUN device.
    pub tun: String,
    /// Our own routing table.
    pub table: u32,
    /// Mark of our own sockets.
    pub fwmark: u32,
    /// Its routes, by destination.
    pub routes: Vec<Route>,
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which.
    pub destination: Prefix,
    /// Where it leads.
    pub target: Target,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into the tunnel.
    Tun {
        /// The host's own packets take a source address of its own that lies in one of these, if it has one: else the
        /// other side's selectors would not let them pass.
        local: Vec<AddrRange>,
        /// What the kernel does when the device is gone.
        behind: Behind,
        /// Whether packets from there also arrive outside the tunnel: ESP of transport mode, and clear traffic.
        outside: bool,
    },
    /// On with the next rule.
    Throw,
}

/// What becomes of a destination without the device, because the gateway was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Fails open: the host's other routes are used.
    Nothing,
    /// The same, although a wider destination fails closed.
    Throw,
    /// Fails closed.
    Unreachable,
}

/// What one policy says about a destination.
struct Claim<'p> {
    /// Its place in the order.
    order: usize,
    policy: &'p Policy,
    /// Whether it speaks for all traffic there, so that later policies have no say.
    whole: bool,
}

/// What all policies together say about a destination.
#[derive(Default)]
struct Verdict {
    /// Some of its traffic is protected.
    steer: bool,
    /// Some of that has to be.
    closed: bool,
    outside: bool,
    local: Vec<AddrRange>,
}

impl Plan {
    /// The routes that `policies` need. A destination is routed as a whole: what the policies let pass there, or
    /// drop, is for the data path to see.
    pub fn new(tun: &str, table: u32, fwmark: u32, policies: &Policies) -> Self {
        let mut claims: HashMap<Prefix, Vec<Claim<'_>>> = HashMap::new();
        for (order, policy) in policies.iter().enumerate() {
            let any_local = policy.selector.local.iter().any(any_address);
            for selector in &policy.selector.remote {
                let whole = any_local && selector.protocol == 0 && selector.ports == PortRange::ANY;
                for destination in prefixes(&selector.addresses) {
                    claims.entry(destination).or_default().push(Claim { order, policy, whole });
                }
            }
        }
        let verdicts: HashMap<Prefix, Verdict> =
            claims.keys().map(|&prefix| (prefix, judge(&claims, prefix))).collect();
        // The nearest wider destination that somebody speaks of.
        let around = |prefix: Prefix| prefix.ancestors().skip(1).find_map(|wider| verdicts.get(&wider));
        let closed =
            |prefix: Prefix| prefix.ancestors().skip(1).any(|wider| verdicts.get(&wider).is_some_and(|v| v.closed));
        let mut routes: Vec<Route> = Vec::new();
        for (&destination, verdict) in &verdicts {
            let target = match verdict {
                Verdict { steer: true, closed: true, .. } => verdict.tun(Behind::Unreachable),
                Verdict { steer: true, .. } if closed(destination) => verdict.tun(Behind::Throw),
                Verdict { steer: true, .. } => verdict.tun(Behind::Nothing),
                Verdict { steer: false, .. } if around(destination).is_some_and(|wider| wider.steer) => Target::Throw,
                Verdict { steer: false, .. } => continue,
            };
            routes.push(Route { destination, target });
        }
        for destination in EXCEPTED {
            if !verdicts.contains_key(&destination) && around(destination).is_some_and(|wider| wider.steer) {
                routes.push(Route { destination, target: Target::Throw });
            }
        }
        routes.sort_by_key(|route| route.destination);
        Self { tun: tun.to_owned(), table, fwmark, routes }
    }
}

impl Verdict {
    fn tun(&self, behind: Behind) -> Target {
        Target::Tun { local: self.local.clone(), behind, outside: self.outside }
    }
}

/// Asks the policies that speak of `prefix` or of a network around it, in their order.
fn judge(claims: &HashMap<Prefix, Vec<Claim<'_>>>, prefix: Prefix) -> Verdict {
    let mut all: Vec<&Claim<'_>> = prefix.ancestors().filter_map(|wider| claims.get(&wider)).flatten().collect();
    all.sort_by_key(|claim| claim.order);
    let mut verdict = Verdict::default();
    for Claim { policy, whole, .. } in all {
        if let Action::Protect(_) = policy.action {
            let levels = policy.terms.levels;
            verdict.steer = true;
            verdict.closed |= levels.outbound == Level::Require;
            verdict.outside |= policy.terms.mode == Mode::Transport || levels.inbound == Level::Use;
            verdict.local.extend(policy.selector.local.iter().map(|selector| selector.addresses));
        }
        if *whole {
            break;
        }
    }
    verdict
}

fn any_address(selector: &TrafficSelector) -> bool {
    selector.protocol == 0 && [AddrRange::ANY_V4, AddrRange::ANY_V6].contains(&selector.addresses)
}

#[cfg(test)]
mod tests {
    use cygnet_spd::{Levels, PolicyId, Selector, Terms};

    use super::*;

    const PROTECT: Action = Action::Protect(PolicyId(1));
    const OPEN: Terms = Terms { levels: Levels { inbound: Level::Use, outbound: Level::Use }, ..REQUIRE };
    const REQUIRE: Terms = Terms {
        mode: Mode::Tunnel,
        levels: Levels { inbound: Level::Require, outbound: Level::Require },
        acquire: cygnet_spd::Acquire::Packet,
        negotiating: cygnet_spd::WhileNegotiating::Hold,
        failed: cygnet_spd::AfterFailure::Drop,
        pfp: cygnet_spd::Pfp {
            local_address: false,
            remote_address: false,
            protocol: false,
            local_port: false,
            remote_port: false,
        },
    };

    /// The routes of policies (local, remote, action, terms), as text.
    fn plan(policies: &[(&str, &str, Action, Terms)]) -> Vec<String> {
        let side = |text: &str| text.split(' ').map(|one| one.parse().expect("selector")).collect();
        let policy = |&(local, remote, action, terms): &(&str, &str, _, _)| Policy {
            name: String::new(),
            selector: Selector { local: side(local), remote: side(remote) },
            action,
            terms,
        };
        let policies = Policies::new(policies.iter().map(policy).collect());
        let text = |route: &Route| match &route.target {
            Target::Throw => format!("throw {}", route.destination),
            Target::Tun { behind, .. } => format!("tun {} {behind:?}", route.destination),
        };
        Plan::new("t0", 7, 8, &policies).routes.iter().map(text).collect()
    }

    #[test]
    fn protected_networks_are_steered_and_exceptions_before_them_are_not() {
        let routes = plan(&[
            ("0.0.0.0/0", "10.2.9.0/24", Action::Bypass, REQUIRE),
            ("0.0.0.0/0", "10.2.8.0/24[tcp/22]", Action::Bypass, REQUIRE),
            ("10.1.0.0/16", "10.2.0.0/16", PROTECT, REQUIRE),
            ("10.3.0.0/16", "10.2.0.0/16", PROTECT, REQUIRE),
            ("0.0.0.0/0", "10.4.0.0/16", Action::Discard, REQUIRE),
        ]);
        let expected = ["tun 10.2.0.0/16 Unreachable", "tun 10.2.8.0/24 Unreachable", "throw 10.2.9.0/24"];
        assert_eq!(routes, expected);
    }

    #[test]
    fn exceptions_after_a_protected_network_are_none() {
        let routes = plan(&[
            ("10.1.0.0/16", "10.2.0.0/16", PROTECT, REQUIRE),
            ("0.0.0.0/0", "10.2.9.0/24", Action::Bypass, REQUIRE),
            ("0.0.0.0/0", "0.0.0.0/0", Action::Bypass, REQUIRE),
        ]);
        assert_eq!(routes, ["tun 10.2.0.0/16 Unreachable", "tun 10.2.9.0/24 Unreachable"]);
    }

    #[test]
    fn a_network_within_an_earlier_exception_is_not_steered() {
        let routes = plan(&[
            ("0.0.0.0/0", "10.2.0.0/16", Action::Bypass, REQUIRE),
            ("10.1.0.0/16", "10.2.9.0/24 10.0.0.0/8", PROTECT, REQUIRE),
        ]);
        assert_eq!(routes, ["tun 10.0.0.0/8 Unreachable", "throw 10.2.0.0/16"]);
    }

    #[test]
    fn use_fails_open_and_require_closed() {
        assert_eq!(plan(&[("10.1.0.0/16", "10.2.0.0/16", PROTECT, OPEN)]), ["tun 10.2.0.0/16 Nothing"]);
        let both = [("10.1.0.0/16", "10.2.0.0/16", PROTECT, OPEN), ("10.3.0.0/16", "10.2.0.0/16", PROTECT, REQUIRE)];
        assert_eq!(plan(&both), ["tun 10.2.0.0/16 Unreachable"], "whose traffic is which, a route does not know");
        let routes = plan(&[
            ("0.0.0.0/0", "10.1.1.0/24", PROTECT, OPEN),
            ("0.0.0.0/0", "10.1.0.0/16", PROTECT, REQUIRE),
            ("0.0.0.0/0", "10.1.2.0/24", PROTECT, OPEN),
        ]);
        let expected = ["tun 10.1.0.0/16 Unreachable", "tun 10.1.1.0/24 Throw", "tun 10.1.2.0/24 Unreachable"];
        assert_eq!(routes, expected, "the first policy decides");
    }

    #[test]
    fn levels_of_the_other_direction_do_not_matter() {
        let incoming = Terms { levels: Levels { inbound: Level::Use, outbound: Level::Require }, ..REQUIRE };
        assert_eq!(plan(&[("10.1.0.0/16", "10.2.0.0/16", PROTECT, incoming)]), ["tun 10.2.0.0/16 Unreachable"]);
        let outgoing = Terms { levels: Levels { inbound: Level::Require, outbound: Level::Use }, ..REQUIRE };
        assert_eq!(plan(&[("10.1.0.0/16", "10.2.0.0/16", PROTECT, outgoing)]), ["tun 10.2.0.0/16 Nothing"]);
    }

    #[test]
    fn what_belongs_to_the_link_stays_there_unless_it_is_named() {
        let routes = plan(&[("0.0.0.0/0 ::/0", "0.0.0.0/0 ::/0", PROTECT, REQUIRE)]);
        let expected = [
            "tun 0.0.0.0/0 Unreachable",
            "throw 169.254.0.0/16",
            "throw 224.0.0.0/4",
            "throw 255.255.255.255/32",
            "tun ::/0 Unreachable",
            "throw fe80::/10",
            "throw ff00::/8",
        ];
        assert_eq!(routes, expected);
        let routes = plan(&[("0.0.0.0/0", "169.254.0.0/16", PROTECT, REQUIRE)]);
        assert_eq!(routes, ["tun 169.254.0.0/16 Unreachable"]);
    }

    #[test]
    fn a_bypass_alone_needs_no_route() {
        assert_eq!(plan(&[("0.0.0.0/0", "0.0.0.0/0", Action::Bypass, REQUIRE)]), [""; 0]);
    }
}
