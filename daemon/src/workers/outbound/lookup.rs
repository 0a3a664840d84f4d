//! Policy, then SA (RFC 4301 §4.4.1, §5.1); without an SA, what the policy's terms say.

use std::sync::Arc;
use std::time::Instant;

use cygnet_sad::{OutboundSa, Tables};
use cygnet_spd::{Acquire, Action, Direction, Flow, Outcome, Policies, PolicyId, SaState, Terms};

use super::Fate;
use crate::workers::shunt::{self, Key};
use crate::workers::{DataPath, Signal};

/// One version of everything that decides about packets.
pub(super) struct View<'t> {
    pub(super) path: &'t DataPath,
    pub(super) policies: &'t Policies,
    pub(super) tables: &'t Tables,
    /// The number of the worker that sends, which may have SAs of its own (RFC 9611); `None` if no worker does.
    pub(super) worker: Option<u32>,
}

/// What becomes of a packet.
pub(super) enum Verdict<'t> {
    /// It goes through this SA.
    Protect(&'t Arc<OutboundSa>),
    /// It is an ICMP error, and goes through the SA of the packet it is about.
    ProtectError(&'t Arc<OutboundSa>),
    /// It goes as it is, because its policy says so.
    Bypass,
    /// It goes as it is, because the SA of this policy is not there.
    Clear(PolicyId),
    /// It waits.
    Hold {
        key: Key,
        /// Whether to ask for the SA, and if so, whether for this flow alone.
        acquire: Option<bool>,
    },
    /// It is dropped.
    Drop(Fate),
}

impl<'t> View<'t> {
    /// What becomes of a packet. Asks for the SA that it lacks, unless it is to be held: then the caller does, after.
    #[inline]
    pub(super) fn judge(&self, packet: &[u8], flow: &Flow) -> Verdict<'t> {
        let policy = self.policies.find(flow);
        let id = match policy.map(|policy| policy.action) {
            Some(Action::Protect(id)) => id,
            Some(Action::Bypass) => return Verdict::Bypass,
            Some(Action::Discard) | None => {
                return self.for_error(packet).unwrap_or(Verdict::Drop(Fate::Discarded));
            }
        };
        match self.sa(id, flow) {
            Some(sa) => Verdict::Protect(sa),
            None => match self.for_error(packet) {
                Some(verdict) => verdict,
                None => self.without_sa(id, &policy.map(|policy| policy.terms).unwrap_or_default(), flow),
            },
        }
    }

    /// The SA for packets of `flow`. If it is not this worker's own but might be, one is asked for, and nothing waits for
    /// it (RFC 9611 §5, §7).
    fn sa(&self, policy: PolicyId, flow: &Flow) -> Option<&'t Arc<OutboundSa>> {
        let Some(resource) = self.worker else { return self.tables.outbound(policy, flow) };
        let sa = self.tables.outbound_of(resource, policy, flow)?;
        let pair = sa.pair();
        if pair.asks_for(resource) && !self.path.signals.raise(Signal::Resource { pair: pair.id(), resource }) {
            pair.ask_again(resource);
        }
        Some(sa)
    }

    /// An ICMP error that has no SA for its own sake goes through that of the packet it is about, if there is one
    /// (RFC 4301 §6.2): none is negotiated for it.
    #[cold]
    fn for_error(&self, packet: &[u8]) -> Option<Verdict<'t>> {
        let about = Flow::of_icmp_error(packet, Direction::Outbound)?;
        match self.policies.find(&about)?.action {
            Action::Protect(id) => self.sa(id, &about).map(Verdict::ProtectError),
            Action::Discard | Action::Bypass => None,
        }
    }

    /// Whether a fragment can't be judged without the others of its packet: because of a policy, or because the peer
    /// narrowed the SA to ports (RFC 4301 §7).
    #[cold]
    pub(super) fn needs_whole(&self, fragment: &Flow) -> bool {
        self.policies.needs_whole(fragment)
            || match self.policies.outbound(fragment) {
                Action::Protect(id) => self.tables.outbound(id, fragment).is_none(),
                Action::Discard | Action::Bypass => false,
            }
    }

    #[cold]
    fn without_sa(&self, policy: PolicyId, terms: &Terms, flow: &Flow) -> Verdict<'t> {
        let key = Key::new(policy, terms, flow.remote);
        let (state, ask) = match terms.acquire {
            Acquire::Packet => self.path.shunts.state(&key, Instant::now()),
            Acquire::Other => (SaState::Failed, false),
        };
        let each = shunt::each_flow(&terms.pfp);
        let failed = state == SaState::Failed;
        let acquire = (ask || each && !failed).then_some(each);
        let verdict = match terms.outbound(state) {
            Outcome::Hold => return Verdict::Hold { key, acquire },
            Outcome::Clear => Verdict::Clear(policy),
            Outcome::Drop | Outcome::Protect => Verdict::Drop(if failed { Fate::Failed } else { Fate::NoSa }),
        };
        if let Some(each) = acquire {
            self.path.signals.raise(Signal::Acquire { policy, flow: *flow, each });
        }
        verdict
    }

    /// Whether an SA came or went since.
    pub(super) fn is_outdated(&self) -> bool {
        !std::ptr::eq(&raw const **self.path.sad.snapshot(), self.tables)
    }
}
