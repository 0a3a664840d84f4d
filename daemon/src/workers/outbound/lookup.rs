//! Policy, then SA (RFC 4301 §5.1); without an SA, what the policy's terms say.

use std::time::Instant;

use cygnet_sad::{OutboundSa, Tables};
use cygnet_spd::{Action, Flow, Outcome, Policies, PolicyId, Terms};

use super::Fate;
use crate::workers::shunt::{self, Key};
use crate::workers::{DataPath, Signal};

/// One version of everything that decides about packets.
pub(super) struct View<'t> {
    pub(super) path: &'t DataPath,
    pub(super) policies: &'t Policies,
    pub(super) tables: &'t Tables,
}

/// What becomes of a packet.
pub(super) enum Verdict<'t> {
    /// It goes through this SA.
    Protect(&'t OutboundSa),
    /// It goes as it is.
    Clear(Fate),
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
    pub(super) fn judge(&self, flow: &Flow) -> Verdict<'t> {
        let Some(policy) = self.policies.find(flow) else { return Verdict::Drop(Fate::Discarded) };
        let id = match policy.action {
            Action::Protect(id) => id,
            Action::Discard => return Verdict::Drop(Fate::Discarded),
            Action::Bypass => return Verdict::Clear(Fate::Bypassed),
        };
        match self.tables.outbound(id, flow) {
            Some(sa) => Verdict::Protect(sa),
            None => self.without_sa(id, &policy.terms, flow),
        }
    }

    #[cold]
    fn without_sa(&self, policy: PolicyId, terms: &Terms, flow: &Flow) -> Verdict<'t> {
        let key = Key::new(policy, terms, flow.remote);
        let (state, ask) = self.path.shunts.state(&key, Instant::now());
        let each = shunt::each_flow(&terms.pfp);
        let failed = state == cygnet_spd::SaState::Failed;
        let acquire = (ask || each && !failed).then_some(each);
        let verdict = match terms.outbound(state) {
            Outcome::Hold => return Verdict::Hold { key, acquire },
            Outcome::Clear => Verdict::Clear(Fate::Clear),
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
