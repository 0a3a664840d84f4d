//! What left in the clear for want of an SA, by policy: whoever switches from `use` to `require` wants to know.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cygnet_spd::PolicyId;

/// Packets of one policy that were sent as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleared {
    /// How many.
    pub packets: u64,
    /// Octets of them.
    pub octets: u64,
    /// Time since the last one; `None` if there was none.
    pub last: Option<Duration>,
}

/// Counts them. Adding takes no lock, except for the first packet of a policy.
#[derive(Debug)]
pub struct Tallies {
    start: Instant,
    tallies: ArcSwap<HashMap<PolicyId, Arc<Tally>>>,
    /// Held by whoever adds an entry.
    growing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Tally {
    packets: AtomicU64,
    octets: AtomicU64,
    /// Milliseconds since the start, plus one.
    last: AtomicU64,
}

impl Tallies {
    /// Nothing counted.
    pub fn new() -> Self {
        Self { start: Instant::now(), tallies: ArcSwap::default(), growing: Mutex::new(()) }
    }

    /// A packet was sent.
    pub(super) fn add(&self, policy: PolicyId, octets: usize, now: Instant) {
        let tallies = self.tallies.load();
        match tallies.get(&policy) {
            Some(tally) => self.count(tally, octets, now),
            None => self.count(&self.grow(policy), octets, now),
        }
    }

    #[cold]
    fn grow(&self, policy: PolicyId) -> Arc<Tally> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tallies = HashMap::clone(&self.tallies.load());
        let tally = Arc::clone(tallies.entry(policy).or_default());
        self.tallies.store(Arc::new(tallies));
        tally
    }

    fn count(&self, tally: &Tally, octets: usize, now: Instant) {
        let age = now.saturating_duration_since(self.start).as_millis();
        tally.packets.fetch_add(1, Ordering::Relaxed);
        tally.octets.fetch_add(octets as u64, Ordering::Relaxed);
        tally.last.fetch_max(u64::try_from(age).unwrap_or(u64::MAX - 1) + 1, Ordering::Relaxed);
    }

    /// Of every policy that ever sent in the clear, in no order.
    pub fn snapshot(&self, now: Instant) -> Vec<(PolicyId, Cleared)> {
        let age = now.saturating_duration_since(self.start);
        let read = |tally: &Tally| Cleared {
            packets: tally.packets.load(Ordering::Relaxed),
            octets: tally.octets.load(Ordering::Relaxed),
            last: tally
                .last
                .load(Ordering::Relaxed)
                .checked_sub(1)
                .map(|at| age.saturating_sub(Duration::from_millis(at))),
        };
        self.tallies.load().iter().map(|(&policy, tally)| (policy, read(tally))).collect()
    }
}

impl Default for Tallies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_its_own_count_whoever_counts() {
        let tallies = Tallies::new();
        let now = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|n| tallies.add(PolicyId(n % 5), 10, now)));
            }
        });
        let mut all = tallies.snapshot(now + Duration::from_secs(3));
        all.sort_by_key(|(policy, _)| *policy);
        assert_eq!(all.len(), 5);
        for (_, cleared) in all {
            assert_eq!((cleared.packets, cleared.octets), (80, 800));
            assert_eq!(cleared.last.map(|last| last.as_secs()), Some(3));
        }
    }
}
