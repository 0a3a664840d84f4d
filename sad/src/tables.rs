//! The readers' side: an immutable version of the whole database.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use cygnet_esp::{Reservation, SequenceExhausted, Spi};
use cygnet_spd::hash::Seed;
use cygnet_spd::{Flow, PolicyId, Selector};

use crate::counters::{InboundDrop, OutboundDrop};
use crate::lifetime::{Limit, SEQUENCE_SOFT, Usage};
use crate::pair::{Pair, PairId, Path};
use crate::prefix::{PrefixKey, PrefixLengths};
use crate::resource::Resource;
use crate::sharded::Sharded;
use crate::turns::{Turn, Turns};

/// A version of the tables, held for the length of a batch.
pub type Snapshot = arc_swap::Guard<Arc<Tables>>;

/// One version of the database. Look-ups take no lock and allocate nothing.
#[derive(Clone)]
pub struct Tables {
    pub(crate) inbound: Sharded<Spi, Arc<InboundSa>>,
    /// Newest first.
    pub(crate) outbound: Sharded<PrefixKey, Vec<Arc<OutboundSa>>>,
    pub(crate) prefixes: Sharded<PolicyId, PrefixLengths>,
}

impl Tables {
    pub(crate) fn new() -> Self {
        let seed = Seed::random();
        Self { inbound: Sharded::new(seed), outbound: Sharded::new(seed), prefixes: Sharded::new(seed) }
    }

    /// The SA of an arriving packet, by SPI alone (RFC 4301 §4.1, unicast). Not one that reached a hard limit.
    #[inline]
    pub fn inbound(&self, spi: Spi) -> Option<&Arc<InboundSa>> {
        self.inbound.get(&spi).filter(|sa| !sa.pair.is_expired())
    }

    /// The SA for a packet that `policy` protects: of those whose selector contains `flow`, the newest that is
    /// active. None means that one must be negotiated (RFC 4301 §5.1). Of several that were negotiated to stand beside
    /// each other, that which belongs to no resource (RFC 9611).
    #[inline]
    pub fn outbound(&self, policy: PolicyId, flow: &Flow) -> Option<&Arc<OutboundSa>> {
        self.find(policy, flow, None)
    }

    /// The same for a packet that `resource` sends. Of several that stand beside each other, the newest of its own; else of
    /// those that belong to none; else any (RFC 9611 §5).
    #[inline]
    pub fn outbound_of(&self, resource: u32, policy: PolicyId, flow: &Flow) -> Option<&Arc<OutboundSa>> {
        self.find(policy, flow, Some(resource))
    }

    #[inline]
    fn find(&self, policy: PolicyId, flow: &Flow, resource: Option<u32>) -> Option<&Arc<OutboundSa>> {
        let prefixes = self.prefixes.get(&policy)?;
        let mut newest: Option<&Arc<OutboundSa>> = None;
        for key in prefixes.keys(policy, flow.remote) {
            let candidates = self.outbound.get(&key).into_iter().flatten();
            let better = candidates
                .take_while(|sa| newest.is_none_or(|newest| sa.pair.order > newest.pair.order))
                .find(|sa| sa.pair.is_active() && sa.pair.selector.contains(flow));
            newest = better.or(newest);
        }
        let newest = newest?;
        match newest.pair.resource() {
            None => Some(newest),
            Some(Resource { group, .. }) => {
                let keys = prefixes.keys(policy, flow.remote);
                let all = keys.filter_map(|key| self.outbound.get(&key)).flatten();
                let beside = all.filter_map(|sa| Some((sa, sa.pair.resource().filter(|own| own.group == group)?)));
                let fits = beside.filter(|(sa, _)| sa.pair.is_active() && sa.pair.selector.contains(flow));
                fits.max_by_key(|(sa, own)| (own.rank(resource), sa.pair.order)).map(|(sa, _)| sa).or(Some(newest))
            }
        }
    }

    /// Every inbound SA, in no order.
    pub fn inbound_sas(&self) -> impl Iterator<Item = &Arc<InboundSa>> {
        self.inbound.values()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.inbound.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tables({} pairs)", self.len())
    }
}

/// The receiving half of a pair.
#[derive(Debug)]
pub struct InboundSa {
    pub(crate) esp: cygnet_esp::Inbound,
    pub(crate) pair: Arc<Pair>,
}

impl InboundSa {
    /// Opens packets.
    #[inline]
    pub fn esp(&self) -> &cygnet_esp::Inbound {
        &self.esp
    }

    /// What it shares with the sending half.
    pub fn pair(&self) -> &Arc<Pair> {
        &self.pair
    }

    /// The pair's name.
    pub fn id(&self) -> PairId {
        self.pair.id
    }

    /// What the inner packet must be (RFC 4301 §5.2 step 4).
    #[inline]
    pub fn selector(&self) -> &Selector {
        &self.pair.selector
    }

    /// Counts packets that were let through, and their octets. Their arrival proves that the peer has the pair, so
    /// that the outbound half may be used from now on (RFC 7296 §2.8).
    #[inline]
    pub fn count(&self, now: Instant, packets: u64, octets: u64) -> Usage {
        let pair = &*self.pair;
        if packets == 0 {
            return Usage::NOTHING;
        }
        let (packets, octets) = pair.inbound.add(now.saturating_duration_since(pair.installed), packets, octets);
        Usage { activated: pair.used(), ..limits(pair, packets, octets, false) }
    }

    /// Counts packets that were dropped.
    #[inline]
    pub fn count_drop(&self, reason: impl Into<InboundDrop>, packets: u64) {
        self.pair.inbound.count_drop(reason.into(), packets);
    }
}

/// The sending half of a pair.
#[derive(Debug)]
pub struct OutboundSa {
    pub(crate) esp: cygnet_esp::Outbound,
    pub(crate) turns: Turns,
    pub(crate) pair: Arc<Pair>,
}

impl OutboundSa {
    /// Seals packets.
    #[inline]
    pub fn esp(&self) -> &cygnet_esp::Outbound {
        &self.esp
    }

    /// Sets aside `count` sequence numbers, to be sealed with at once, and the turn in which the packets are to be sent.
    ///
    /// # Errors
    /// As [`cygnet_esp::Outbound::reserve`].
    #[inline]
    pub fn reserve(&self, count: u32) -> Result<(Reservation<'_>, Turn<'_>), SequenceExhausted> {
        self.turns.draw(|| self.esp.reserve(count))
    }

    /// What it shares with the receiving half.
    pub fn pair(&self) -> &Arc<Pair> {
        &self.pair
    }

    /// The pair's name.
    pub fn id(&self) -> PairId {
        self.pair.id
    }

    /// Between which outer addresses, at this moment.
    #[inline]
    pub fn path(&self) -> Path {
        self.pair.path()
    }

    /// The longest inner packet that fits the path, at this moment, in octets: see [`Pair::inner_mtu`].
    #[inline]
    pub fn inner_mtu(&self) -> Option<usize> {
        self.pair.inner_mtu()
    }

    /// Counts packets that were sent, and the octets of their inner packets.
    #[inline]
    pub fn count(&self, now: Instant, packets: u64, octets: u64) -> Usage {
        let pair = &*self.pair;
        if packets == 0 {
            return Usage::NOTHING;
        }
        let (packets, octets) = pair.outbound.add(now.saturating_duration_since(pair.installed), packets, octets);
        limits(pair, packets, octets, !self.esp.esn() && self.esp.sequence() >= SEQUENCE_SOFT)
    }

    /// Counts packets that were dropped.
    #[inline]
    pub fn count_drop(&self, reason: impl Into<OutboundDrop>, packets: u64) {
        self.pair.outbound.count_drop(reason.into(), packets);
    }
}

#[inline]
fn limits(pair: &Pair, packets: u64, octets: u64, sequence_soft: bool) -> Usage {
    let hard = pair.lifetime.hard.reached(packets, octets);
    let soft = sequence_soft || pair.lifetime.soft.reached(packets, octets);
    Usage { activated: false, hard: hard && pair.reached(Limit::Hard), soft: soft && pair.reached(Limit::Soft) }
}
