//! When what was found earlier may no longer be what a look-up finds.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the changes that can alter the answer of an outbound look-up: of tables, and of states in them. On a cache
/// line of its own: workers read it once per batch, and it seldom changes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Generation(AtomicU64);

impl Generation {
    #[inline]
    pub(crate) fn current(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Call after the change: who sees the new number sees the change.
    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}
