//! Changes to the database: what a pair is installed with, and how the tables and the writer's lists follow.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use cygnet_esp::tunnel::Rules;
use cygnet_esp::{Inbound, Outbound};
use cygnet_spd::{Mode, PolicyId, Selector};

use crate::counters::Counters;
use crate::generation::Generation;
use crate::lifetime::{Lifetime, Limit};
use crate::pair::{Origin, OriginalAddresses, Pair, PairId, PairStatus, Path};
use crate::prefix::PrefixKey;
use crate::resource::{Place, Resource};
use crate::state::State;
use crate::tables::{InboundSa, OutboundSa, Tables};
use crate::turns::Turns;

/// What only writers need.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) pairs: HashMap<PairId, Entry>,
    /// Limits by time that are still to come.
    pub(crate) deadlines: BTreeSet<(Instant, PairId, Limit)>,
    installed: u64,
}

pub(crate) struct Entry {
    pub(crate) pair: Arc<Pair>,
    /// The pair that replaces it.
    successor: Option<PairId>,
}

/// A negotiated pair.
#[derive(Debug)]
pub struct NewPair {
    /// Its name.
    pub id: PairId,
    /// The policy it serves.
    pub policy: PolicyId,
    /// The negotiated selectors.
    pub selector: Selector,
    /// What ESP wraps.
    pub mode: Mode,
    /// How outer headers are filled in.
    pub headers: Rules,
    /// Transport mode through a NAT: what the peer's checksums cover (RFC 3948 §3.1.2).
    pub original: Option<OriginalAddresses>,
    /// Who made it.
    pub origin: Origin,
    /// Opens packets.
    pub inbound: Inbound,
    /// Seals packets.
    pub outbound: Outbound,
    /// Outer addresses.
    pub path: Path,
    /// Limits.
    pub lifetime: Lifetime,
    /// Its place among several with the same selectors (RFC 9611).
    pub resource: Option<Resource>,
    /// The pair that this one succeeds; both stay until that one is removed.
    pub replaces: Option<PairId>,
    /// When the outbound half may be used.
    pub activation: Activation,
}

/// When the outbound half of a new pair takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// At once.
    Now,
    /// At the first traffic on the inbound half, at [`Edit::activate`], or when the pair that it replaces is
    /// removed, whichever comes first: the responder of a rekey can't know that its response arrived
    /// (RFC 7296 §2.8).
    OnUse,
}

/// Why a pair was not installed. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallError {
    /// There is a pair of this name.
    Id,
    /// The inbound SPI is taken.
    Spi,
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "the pair is installed already",
            Self::Spi => "the inbound SPI is taken",
        })
    }
}

impl std::error::Error for InstallError {}

/// Changes that are not yet published.
pub struct Edit<'a> {
    pub(crate) writer: &'a mut Writer,
    pub(crate) generation: &'a Arc<Generation>,
    pub(crate) tables: Tables,
    pub(crate) changed: bool,
}

impl Edit<'_> {
    /// Adds a pair. What it replaces stays: make before break (RFC 7296 §2.8).
    ///
    /// # Errors
    /// See [`InstallError`].
    pub fn install(&mut self, now: Instant, new: NewPair) -> Result<Arc<Pair>, InstallError> {
        let NewPair { id, policy, selector, mode, headers, original, origin, path, lifetime, .. } = new;
        let NewPair { inbound, outbound, resource, replaces, activation, .. } = new;
        let spis = (inbound.spi(), outbound.spi());
        if self.writer.pairs.contains_key(&id) {
            return Err(InstallError::Id);
        }
        if self.tables.inbound.contains_key(&spis.0) {
            return Err(InstallError::Spi);
        }
        self.writer.installed += 1;
        let order = self.writer.installed;
        let pair = Arc::new(Pair {
            id,
            policy,
            selector,
            mode,
            headers,
            original,
            origin,
            inbound_spi: spis.0,
            outbound_spi: spis.1,
            encr: outbound.encr(),
            esn: outbound.esn(),
            replay_window: inbound.window(),
            lifetime,
            place: Place::new(resource),
            installed: now,
            order,
            path: ArcSwap::from_pointee(path),
            inner_mtu: AtomicU32::new(0),
            state: State::default(),
            generation: self.generation.clone(),
            halves: OnceLock::new(),
            inbound: Counters::new(),
            outbound: Counters::new(),
        });
        let predecessor = replaces.map(|old| self.writer.pairs.get_mut(&old));
        let nothing_to_wait_for = matches!(predecessor, Some(None));
        if let Some(Some(old)) = predecessor {
            old.successor = Some(id);
        }
        if activation == Activation::Now || nothing_to_wait_for {
            pair.activate();
        }

        let inbound = Arc::new(InboundSa { esp: inbound, pair: pair.clone() });
        let outbound = Arc::new(OutboundSa { esp: outbound, turns: Turns::default(), pair: pair.clone() });
        pair.halves.get_or_init(|| (Arc::downgrade(&inbound), Arc::downgrade(&outbound)));
        self.tables.inbound.insert(spis.0, inbound);
        for key in keys(&pair) {
            let mut first = false;
            self.tables.outbound.alter(key, |sas| {
                first = sas.is_none();
                sas.get_or_insert_default().insert(0, outbound.clone());
            });
            if first {
                self.tables.prefixes.alter(policy, |lengths| lengths.get_or_insert_default().add(&key));
            }
        }
        self.writer.deadlines.extend(deadlines(&pair));
        self.writer.pairs.insert(id, Entry { pair: pair.clone(), successor: None });
        self.changed = true;
        Ok(pair)
    }

    /// Lets the outbound half be used; whether there is such a pair.
    pub fn activate(&mut self, id: PairId) -> bool {
        self.writer.pairs.get(&id).map(|entry| entry.pair.activate()).is_some()
    }

    /// Ends the use of the outbound half at once and for good, while the inbound half goes on receiving; whether there is
    /// such a pair. For a pair that is about to be deleted and has a twin: the peer may send on it until it answers the
    /// Delete (RFC 7296 §1.4.1). Look-ups find the next newest pair that fits, or none, so that one is negotiated.
    pub fn retire_outbound(&mut self, id: PairId) -> bool {
        self.writer.pairs.get(&id).map(|entry| entry.pair.retire_outbound()).is_some()
    }

    /// The outer addresses of a pair.
    pub fn path(&self, id: PairId) -> Option<Path> {
        self.writer.pairs.get(&id).map(|entry| entry.pair.path())
    }

    /// Sends to and from other outer addresses from now on; whether there is such a pair.
    pub fn update_path(&mut self, id: PairId, path: Path) -> bool {
        self.writer.pairs.get(&id).map(|entry| entry.pair.path.store(Arc::new(path))).is_some()
    }

    /// Removes a pair; its last traffic, if there was such a pair. A successor that waits becomes active: the peer
    /// that deletes the old pair has the new one (RFC 7296 §2.8).
    pub fn remove(&mut self, id: PairId) -> Option<PairStatus> {
        let Entry { pair, successor } = self.writer.pairs.remove(&id)?;
        if let Some(successor) = successor {
            self.activate(successor);
        }
        for deadline in deadlines(&pair) {
            self.writer.deadlines.remove(&deadline);
        }
        self.tables.inbound.remove(pair.inbound_spi);
        for key in keys(&pair) {
            let mut last = false;
            self.tables.outbound.alter(key, |sas| {
                if let Some(rest) = sas {
                    rest.retain(|sa| sa.pair.id != id);
                    // The resource may ask for another one.
                    for sibling in rest.iter() {
                        sibling.pair.place.left_by(&pair.place);
                    }
                    last = rest.is_empty();
                }
                if last {
                    *sas = None;
                }
            });
            if last {
                self.tables.prefixes.alter(pair.policy, |lengths| {
                    if let Some(lengths) = lengths {
                        lengths.subtract(&key);
                    }
                    if lengths.as_ref().is_some_and(|lengths| lengths.is_empty()) {
                        *lengths = None;
                    }
                });
            }
        }
        self.changed = true;
        Some(pair.status())
    }
}

/// The keys under which the outbound half is found, each once.
fn keys(pair: &Pair) -> Vec<PrefixKey> {
    let mut keys = Vec::new();
    for ts in &pair.selector.remote {
        let key = PrefixKey::around(pair.policy, &ts.addresses);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// The limits by time.
fn deadlines(pair: &Pair) -> impl Iterator<Item = (Instant, PairId, Limit)> {
    let limits = [(pair.lifetime.soft, Limit::Soft), (pair.lifetime.hard, Limit::Hard)];
    let (installed, id) = (pair.installed, pair.id);
    limits.into_iter().filter_map(move |(limits, limit)| Some((installed.checked_add(limits.time?)?, id, limit)))
}
