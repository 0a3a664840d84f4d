//! What was decided for the flows seen last, so that the next packet of each costs no policy and no SAD look-up.

use std::sync::Arc;

use cygnet_sad::OutboundSa;
use cygnet_spd::{Flow, FlowCache, Policies};

use super::{BATCH, Fate};

/// Flows remembered: as many as a busy gateway has at once, in about half a megabyte.
const FLOWS: usize = 4096;
/// SAs remembered, one for each look-up that found one: what is forgotten of flows leaves gaps here. When it is full,
/// all is forgotten.
const SAS: usize = 4 * FLOWS;

/// A position in [`Cache::sa`], good until the end of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SaIndex(u32);

/// What was decided for a flow. Only what stays so while policies and SAs are the same: nothing that time changes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Decided {
    /// It goes through this SA.
    Protect(SaIndex),
    /// It goes as it is.
    Bypass,
    /// It is dropped.
    Drop(Fate),
    /// It is a fragment, and its whole packet is needed first.
    Whole,
}

/// Of one worker.
pub(super) struct Cache {
    flows: FlowCache<Decided>,
    sas: Vec<Arc<OutboundSa>>,
    /// What it is valid for.
    generation: u64,
    policies: Option<Arc<Policies>>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { flows: FlowCache::new(FLOWS), sas: Vec::with_capacity(SAS), generation: 0, policies: None }
    }

    /// Begins a batch that is judged by `policies` and by SAs of `generation`, which was read before their tables.
    #[inline]
    pub(super) fn begin(&mut self, generation: u64, policies: &Arc<Policies>) {
        let same = self.policies.as_ref().is_some_and(|known| Arc::ptr_eq(known, policies));
        // A packet adds two SAs at most: one as a fragment, one as a whole.
        let room = self.sas.len() + 2 * BATCH <= SAS;
        if same && self.generation == generation && room {
            return;
        }
        self.clear();
        self.generation = generation;
        if !same {
            self.policies = Some(Arc::clone(policies));
        }
    }

    /// Forgets everything: keys of SAs must not live on while no packet comes.
    pub(super) fn clear(&mut self) {
        self.flows.clear();
        self.sas.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sas.is_empty()
    }

    #[inline]
    pub(super) fn get(&self, flow: &Flow) -> Option<Decided> {
        self.flows.get(flow).copied()
    }

    pub(super) fn insert(&mut self, flow: &Flow, decided: Decided) {
        self.flows.insert(flow, decided);
    }

    /// Remembers an SA.
    pub(super) fn add(&mut self, sa: &Arc<OutboundSa>) -> SaIndex {
        self.sas.push(Arc::clone(sa));
        SaIndex(self.sas.len() as u32 - 1)
    }

    #[inline]
    pub(super) fn sa(&self, index: SaIndex) -> Option<&OutboundSa> {
        self.sas.get(index.0 as usize).map(|sa| &**sa)
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("flows", &self.flows).field("sas", &self.sas.len()).finish_non_exhaustive()
    }
}
