//! The writer's side: changes are made to a copy, which shares what does not change, and published together.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
use crate::state::State;
use crate::tables::{InboundSa, OutboundSa, Snapshot, Tables};

/// The database. Shared by reference; every method may be called from any thread.
pub struct Sad {
    published: ArcSwap<Tables>,
    generation: Arc<Generation>,
    writer: Mutex<Writer>,
}

/// What only writers need.
#[derive(Default)]
struct Writer {
    pairs: HashMap<PairId, Entry>,
    /// Limits by time that are still to come.
    deadlines: BTreeSet<(Instant, PairId, Limit)>,
    installed: u64,
}

struct Entry {
    pair: Arc<Pair>,
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

/// A limit by time was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Of which pair.
    pub pair: PairId,
    /// Which limit.
    pub limit: Limit,
}

impl Sad {
    /// An empty database.
    pub fn new() -> Self {
        Self { published: ArcSwap::from_pointee(Tables::new()), generation: Arc::default(), writer: Mutex::default() }
    }

    /// The tables of this moment. Take it once per batch and let go of it after: removed keys live until then.
    #[inline]
    pub fn snapshot(&self) -> Snapshot {
        self.published.load()
    }

    /// A number that is another one after every change that can alter the answer of [`Tables::outbound`]: pairs that
    /// come, go, become active, are retired or reach a hard limit. Paths and MTUs are read from the SA and do not count.
    ///
    /// For a cache of answers, an `Arc<OutboundSa>` per flow, in front of the tables:
    /// - Once per batch, read this number *before* taking the snapshot, and empty the cache unless it is the number that
    ///   the cache was filled under. Then no batch that begins after a change uses an answer from before it: a rekeyed
    ///   flow moves to its new SA while the old one still works.
    /// - Before waiting for packets without a limit in time, empty the cache. What it holds keeps keys alive, and those
    ///   of a removed SA must be wiped when the last batch lets go of them, even where no packet comes any more.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.current()
    }

    /// Makes any number of changes and publishes them together: readers see all of them or none.
    pub fn edit<R>(&self, changes: impl FnOnce(&mut Edit<'_>) -> R) -> R {
        let mut writer = self.lock();
        let tables = Tables::clone(&self.published.load());
        let mut edit = Edit { writer: &mut writer, generation: &self.generation, tables, changed: false };
        let result = changes(&mut edit);
        if edit.changed {
            let Edit { tables, .. } = edit;
            self.published.store(Arc::new(tables));
            self.generation.advance();
        }
        result
    }

    /// [`Edit::install`] alone.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub fn install(&self, now: Instant, new: NewPair) -> Result<Arc<Pair>, InstallError> {
        self.edit(|edit| edit.install(now, new))
    }

    /// [`Edit::activate`] alone.
    pub fn activate(&self, id: PairId) -> bool {
        self.edit(|edit| edit.activate(id))
    }

    /// [`Edit::retire_outbound`] alone.
    pub fn retire_outbound(&self, id: PairId) -> bool {
        self.edit(|edit| edit.retire_outbound(id))
    }

    /// [`Edit::remove`] alone.
    pub fn remove(&self, id: PairId) -> Option<PairStatus> {
        self.edit(|edit| edit.remove(id))
    }

    /// [`Edit::update_path`] with the peer's address changed (RFC 7296 §2.23: its NAT gave it another).
    pub fn update_peer(&self, id: PairId, remote: SocketAddr) -> bool {
        self.edit(|edit| match edit.path(id) {
            Some(path) => edit.update_path(id, Path { remote, ..path }),
            None => false,
        })
    }

    /// A pair's traffic.
    pub fn status(&self, id: PairId) -> Option<PairStatus> {
        self.lock().pairs.get(&id).map(|entry| entry.pair.status())
    }

    /// Every pair's traffic, in no order.
    pub fn statuses(&self) -> Vec<PairStatus> {
        self.snapshot().inbound_sas().map(|sa| sa.pair().status()).collect()
    }

    /// When [`expired`](Self::expired) is to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.lock().deadlines.first().map(|(deadline, ..)| *deadline)
    }

    /// The limits by time that were reached by `now`, oldest first. Each limit of a pair is told once, whether it is
    /// reached by time or by traffic.
    pub fn expired(&self, now: Instant) -> Vec<Expiry> {
        let mut writer = self.lock();
        let mut expired = Vec::new();
        while let Some((_, id, limit)) = writer.deadlines.first().copied().filter(|(deadline, ..)| *deadline <= now) {
            writer.deadlines.pop_first();
            if writer.pairs.get(&id).is_some_and(|entry| entry.pair.reached(limit)) {
                expired.push(Expiry { pair: id, limit });
            }
        }
        expired
    }

    /// The writer's state is valid after every statement that could panic, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Sad {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sad({} pairs)", self.snapshot().len())
    }
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
    writer: &'a mut Writer,
    generation: &'a Arc<Generation>,
    tables: Tables,
    changed: bool,
}

impl Edit<'_> {
    /// Adds a pair. What it replaces stays: make before break (RFC 7296 §2.8).
    ///
    /// # Errors
    /// See [`InstallError`].
    pub fn install(&mut self, now: Instant, new: NewPair) -> Result<Arc<Pair>, InstallError> {
        let NewPair { id, policy, selector, mode, headers, original, origin, path, lifetime, .. } = new;
        let NewPair { inbound, outbound, replaces, activation, .. } = new;
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
        let outbound = Arc::new(OutboundSa { esp: outbound, pair: pair.clone() });
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
