//! Lifetimes (RFC 4301 §4.4.2.1): a soft limit asks for a successor, a hard limit ends the SA.

use std::time::Duration;

/// Limits of a pair. Octets and packets are those of either direction, not of both together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetime {
    /// Reaching one of these asks for a rekey, once.
    pub soft: Limits,
    /// Reaching one of these ends the pair: from then on no look-up finds it.
    pub hard: Limits,
}

/// When a limit is reached; `None` is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Since installation.
    pub time: Option<Duration>,
    /// Octets of inner packets.
    pub octets: Option<u64>,
    /// Inner packets.
    pub packets: Option<u64>,
}

impl Limits {
    #[inline]
    pub(crate) fn reached(&self, packets: u64, octets: u64) -> bool {
        self.packets.is_some_and(|limit| packets >= limit) || self.octets.is_some_and(|limit| octets >= limit)
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// Rekey.
    Soft,
    /// Delete.
    Hard,
}

/// What a batch of traffic set off. Each is told once in the life of a pair, to one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use = "each event is told only once"]
pub struct Usage {
    /// First traffic on the inbound half of a pair that waited for it: the outbound half is in use now, and IKE
    /// wants to know (RFC 7296 §2.8).
    pub activated: bool,
    /// A soft limit was reached: rekey.
    pub soft: bool,
    /// A hard limit was reached: delete.
    pub hard: bool,
}

impl Usage {
    /// Nothing happened.
    pub const NOTHING: Self = Self { activated: false, soft: false, hard: false };

    /// Whether nothing happened, as nearly always.
    #[inline]
    pub fn is_nothing(&self) -> bool {
        *self == Self::NOTHING
    }
}

/// Where an SA without extended sequence numbers asks for a rekey by itself: with a sixteenth of its numbers left,
/// which is two minutes at two million packets a second (RFC 4303 §3.3.3).
pub(crate) const SEQUENCE_SOFT: u64 = (1 << 32) - (1 << 28);
