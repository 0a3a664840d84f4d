//! Ordered policies and the two look-ups (RFC 4301 §4.4.1, §5.1, §5.2).

use crate::flow::Flow;
use crate::selector::Selector;

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
    /// is discarded, so this is never [`Action::Protect`].
    #[inline]
    pub fn inbound_clear(&self, flow: &Flow) -> Action {
        match self.outbound(flow) {
            Action::Bypass => Action::Bypass,
            Action::Discard | Action::Protect(_) => Action::Discard,
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
