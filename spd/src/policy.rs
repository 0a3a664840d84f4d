//! Ordered policies and the two look-ups (RFC 4301 §4.4.1, §5.1, §5.2).

use crate::flow::Flow;
use crate::index::{Grain, Index};
use crate::protocol;
use crate::selector::Selector;
use crate::terms::{Mode, Outcome, Terms};

/// Names a policy that protects: the key under which its SAs are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

/// What is done with a packet (RFC 4301 §4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Drop it.
    Discard,
    /// Let it pass as it is.
    Bypass,
    /// Let it pass only through an SA of this policy.
    Protect(PolicyId),
}

/// One entry of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Name in configuration, status and logs.
    pub name: String,
    /// Which packets.
    pub selector: Selector,
    /// What is done with them.
    pub action: Action,
    /// How it protects.
    pub terms: Terms,
}

/// The database: the first entry that matches decides, so order is meaning (RFC 4301 §4.4.1).
///
/// Compiled when built, so that a look-up costs the same however many entries there are: a new database replaces the
/// old one as a whole.
#[derive(Debug, Clone)]
pub struct Policies {
    entries: Vec<Policy>,
    index: Index,
    /// For packets whose ports are not known.
    hidden: Index,
}

impl Policies {
    /// Entries in their order of precedence.
    pub fn new(entries: Vec<Policy>) -> Self {
        let selectors = || entries.iter().map(|policy| &policy.selector);
        let (index, hidden) = (Index::new(selectors(), Grain::Ports), Index::new(selectors(), Grain::Protocol));
        Self { index, hidden, entries }
    }

    /// What to do with a packet that leaves (RFC 4301 §5.1). No match is [`Action::Discard`].
    #[inline]
    pub fn outbound(&self, flow: &Flow) -> Action {
        self.find(flow).map_or(Action::Discard, |policy| policy.action)
    }

    /// What to do with a packet that arrived without IPsec (RFC 4301 §5.2 step 3b): what should have been protected
    /// is discarded, unless its policy only has level `use`. Never [`Action::Protect`].
    #[inline]
    pub fn inbound_clear(&self, flow: &Flow) -> Action {
        match self.find(flow) {
            Some(Policy { action: Action::Bypass, .. }) => Action::Bypass,
            Some(Policy { action: Action::Protect(_), terms, .. }) if terms.inbound_clear() == Outcome::Clear => {
                Action::Bypass
            }
            _ => Action::Discard,
        }
    }

    /// The first entry that matches.
    #[inline]
    pub fn find(&self, flow: &Flow) -> Option<&Policy> {
        self.position(flow).map(|position| &self.entries[position])
    }

    /// The first entry that matches, by asking one after the other: the specification of [`find`](Self::find).
    pub fn scan(&self, flow: &Flow) -> Option<&Policy> {
        self.entries.iter().find(|policy| policy.selector.contains(flow))
    }

    /// Whether a fragment can only be judged as part of its whole packet (RFC 4301 §7.1): because the first policy that
    /// may select it asks for ports, which all fragments but the first lack; takes them for its SA
    /// ([`Pfp`](crate::Pfp)); or protects in transport mode, which wraps whole packets only (RFC 4303 §3.3.4).
    ///
    /// The answer is the same for all fragments of a packet if `fragment` is [`Flow::of_fragment`]'s, which says of
    /// the first one no more than of the others. For a whole packet the question has no meaning.
    pub fn needs_whole(&self, fragment: &Flow) -> bool {
        if fragment.remote.is_ipv6() && protocol::is_extension_header(fragment.protocol) {
            // The first fragment alone knows the protocol.
            return true;
        }
        let first = self.hidden.first(fragment, |position| self.entries[position].selector.may_contain(fragment));
        first.map(|position| &self.entries[position]).is_some_and(|Policy { selector, action, terms, .. }| {
            let protects = matches!(action, Action::Protect(_));
            !selector.contains_all_ports(fragment)
                || protects && (terms.mode == Mode::Transport || terms.pfp.needs_ports())
        })
    }

    #[inline]
    fn position(&self, flow: &Flow) -> Option<usize> {
        if flow.is_consistent() {
            return self.index.first(flow, |position| self.entries[position].selector.contains(flow));
        }
        self.entries.iter().position(|policy| policy.selector.contains(flow))
    }

    /// All entries, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Policy> {
        self.entries.iter()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none: everything is discarded.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl PartialEq for Policies {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Policies {}

impl<'a> IntoIterator for &'a Policies {
    type Item = &'a Policy;
    type IntoIter = std::slice::Iter<'a, Policy>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::selector::tests::{any_flow, any_pair};
    use crate::{Direction, Pfp, Ports};

    fn policy(remote: &str, action: Action) -> Policy {
        let side = |text: &str| vec![text.parse().unwrap()];
        Policy {
            name: remote.into(),
            selector: Selector { local: side("0.0.0.0/0"), remote: side(remote) },
            action,
            terms: Terms::default(),
        }
    }

    fn to(remote: [u8; 4]) -> Flow {
        let ports = Ports::Icmp { kind: 8, code: 0 };
        Flow { direction: Direction::Outbound, local: [10, 0, 0, 1].into(), remote: remote.into(), protocol: 1, ports }
    }

    #[test]
    fn the_first_match_decides_and_no_match_discards() {
        let policies = Policies::new(vec![
            policy("10.2.0.9", Action::Bypass),
            policy("10.2.0.0/16", Action::Protect(PolicyId(7))),
            policy("10.0.0.0/8", Action::Discard),
            policy("10.3.0.0/16", Action::Bypass),
        ]);
        assert_eq!(policies.outbound(&to([10, 2, 0, 9])), Action::Bypass);
        assert_eq!(policies.outbound(&to([10, 2, 0, 8])), Action::Protect(PolicyId(7)));
        assert_eq!(policies.outbound(&to([10, 3, 0, 1])), Action::Discard);
        assert_eq!(policies.outbound(&to([192, 0, 2, 1])), Action::Discard);
        assert_eq!(Policies::default().outbound(&to([10, 2, 0, 9])), Action::Discard);
    }

    #[test]
    fn what_should_be_protected_does_not_arrive_in_the_clear() {
        let policies = Policies::new(vec![
            policy("10.2.0.0/16", Action::Protect(PolicyId(7))),
            policy("10.0.0.0/8", Action::Bypass),
        ]);
        let from = |remote| Flow { direction: Direction::Inbound, ..to(remote) };
        assert_eq!(policies.inbound_clear(&from([10, 2, 0, 1])), Action::Discard);
        assert_eq!(policies.inbound_clear(&from([10, 3, 0, 1])), Action::Bypass);
        assert_eq!(policies.inbound_clear(&from([192, 0, 2, 1])), Action::Discard);
    }

    #[test]
    fn a_fragment_is_judged_alone_where_ports_do_not_matter() {
        let tunnel = |remote| policy(remote, Action::Protect(PolicyId(1)));
        let transport = Policy { terms: Terms { mode: Mode::Transport, ..Terms::default() }, ..tunnel("10.4.0.0/16") };
        let port_each = Pfp { remote_port: true, ..Pfp::default() };
        let pfp = Policy { terms: Terms { pfp: port_each, ..Terms::default() }, ..tunnel("10.5.0.0/16") };
        let policies = Policies::new(vec![
            policy("10.2.0.0/16[udp/53]", Action::Bypass),
            tunnel("10.2.0.0/16"),
            policy("10.3.0.0/16[udp/opaque]", Action::Bypass),
            transport,
            pfp,
            policy("10.6.0.0/16[icmp/8]", Action::Bypass),
            tunnel("10.0.0.0/8"),
        ]);
        let fragment = |protocol, remote| Flow { protocol, ports: Ports::Opaque, ..to(remote) };
        for (protocol, remote, whole) in [
            (17, [10, 2, 0, 1], true),
            (6, [10, 2, 0, 1], false),
            (17, [10, 3, 0, 1], true),
            (6, [10, 3, 0, 1], false),
            (17, [10, 4, 0, 1], true),
            (47, [10, 4, 0, 1], true),
            (17, [10, 5, 0, 1], true),
            (1, [10, 6, 0, 1], true),
            (17, [10, 6, 0, 1], false),
            (17, [192, 0, 2, 1], false),
        ] {
            assert_eq!(policies.needs_whole(&fragment(protocol, remote)), whole, "{protocol} {remote:?}");
        }
    }

    proptest! {
        // The oracle reads the list backwards and lets the last word win.
        #[test]
        fn look_up_is_the_ordered_scan(selectors in prop::collection::vec(any_pair(), 0..12), flow in any_flow()) {
            let entries: Vec<Policy> = (0..).zip(selectors).map(|(n, selector)| {
                let action = match n % 3 {
                    0 => Action::Protect(PolicyId(n)),
                    1 => Action::Bypass,
                    _ => Action::Discard,
                };
                Policy { name: n.to_string(), selector, action, terms: Terms::default() }
            }).collect();
            let mut expected = Action::Discard;
            for policy in entries.iter().rev() {
                if policy.selector.contains(&flow) {
                    expected = policy.action;
                }
            }
            let policies = Policies::new(entries);
            prop_assert_eq!(policies.outbound(&flow), expected);
            let clear = if expected == Action::Bypass { Action::Bypass } else { Action::Discard };
            prop_assert_eq!(policies.inbound_clear(&flow), clear);
        }

        // What needs no whole packet is decided alike for every port, by a policy that can take fragments.
        #[test]
        fn fragments_that_are_judged_alone_go_where_their_packet_would(
            entries in prop::collection::vec((any_pair(), 0u8..5), 0..12),
            flow in any_flow(), ports in prop::collection::vec(any::<(u16, u16)>(), 16),
        ) {
            let entries: Vec<Policy> = (0..).zip(entries).map(|(n, (selector, kind))| {
                let mode = if kind == 4 { Mode::Transport } else { Mode::Tunnel };
                let pfp = Pfp { local_port: kind == 3, ..Pfp::default() };
                let action = if kind == 0 { Action::Bypass } else { Action::Protect(PolicyId(n)) };
                Policy { name: n.to_string(), selector, action, terms: Terms { mode, pfp, ..Terms::default() } }
            }).collect();
            let policies = Policies::new(entries);
            let fragment = Flow { ports: Ports::Opaque, ..flow };
            // By the definition, one policy after the other.
            let by_scan = policies.iter().find(|p| p.selector.may_contain(&fragment)).is_some_and(|p| {
                !p.selector.contains_all_ports(&fragment) || p.terms.mode == Mode::Transport || p.terms.pfp.local_port
            });
            prop_assert_eq!(policies.needs_whole(&fragment), by_scan);
            prop_assert_eq!(policies.needs_whole(&flow), by_scan, "the ports that a fragment shows don't count");
            if !by_scan {
                let decided = policies.scan(&fragment);
                prop_assert!(decided.is_none_or(|p| p.terms.mode == Mode::Tunnel && !p.terms.pfp.local_port));
                for (local, remote) in ports {
                    let whole = Flow { ports: Ports::Pair { local, remote }, ..fragment };
                    prop_assert_eq!(policies.find(&whole), decided);
                }
            }
        }
    }
}
