//! Ordered policies and the two look-ups (RFC 4301 §4.4.1, §5.1, §5.2).

use crate::flow::Flow;
use crate::selector::Selector;
use crate::terms::{Outcome, Terms};

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    entries: Vec<Policy>,
}

impl Policies {
    /// Entries in their order of precedence.
    pub fn new(entries: Vec<Policy>) -> Self {
        Self { entries }
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
        self.entries.iter().find(|policy| policy.selector.contains(flow))
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
    use crate::{Direction, Ports};

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
    }
}
