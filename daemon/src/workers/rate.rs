//! A limit on how often something is done, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many at once, and so many per second after that: a token bucket, kept as the time at which it is full again
/// (the generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct Rate {
    start: Instant,
    /// Nanoseconds since `start`.
    full_at: AtomicU64,
    interval: u64,
    /// What the bucket holds, in nanoseconds.
    depth: u64,
}

impl Rate {
    /// A full bucket. `per_second` and `burst` are at least one.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let interval = nanoseconds(Duration::from_secs(1) / per_second.max(1));
        let depth = interval.saturating_mul(u64::from(burst.max(1)));
        Self { start: Instant::now(), full_at: AtomicU64::new(0), interval, depth }
    }

    /// Whether it may be done once more. When several threads ask at the same time, one may be refused in vain.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let now = nanoseconds(now.saturating_duration_since(self.start));
        let full_at = self.full_at.load(Ordering::Relaxed);
        let next = full_at.max(now).saturating_add(self.interval);
        next <= now.saturating_add(self.depth)
            && self.full_at.compare_exchange(full_at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let rate = Rate::new(4, 3);
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let admitted = |milliseconds| (0..10).filter(|_| rate.admits(at(milliseconds))).count();
        assert_eq!([0, 249, 250, 251, 1000, 60_000].map(admitted), [3, 0, 1, 0, 3, 3]);
    }
}
