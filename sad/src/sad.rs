//! The writer's side: changes are made to a copy, which shares what does not change, and published together.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::edit::{Edit, InstallError, NewPair, Writer};
use crate::generation::Generation;
use crate::lifetime::Limit;
use crate::pair::{Pair, PairId, PairStatus, Path};
use crate::tables::{Snapshot, Tables};

/// The database. Shared by reference; every method may be called from any thread.
pub struct Sad {
    published: ArcSwap<Tables>,
    generation: Arc<Generation>,
    writer: Mutex<Writer>,
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

    /// Lets `resource`, or all of them, ask again for a pair of its own beside those of `group`.
    pub fn ask_again(&self, group: PairId, resource: Option<u32>) {
        self.snapshot().inbound_sas().for_each(|sa| sa.pair().place.reopen(group, resource));
        // Who looks nothing up, since it remembers, does not ask.
        self.generation.advance();
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
