//! Where a pair is in its life: a few bits that workers read per batch and seldom change.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::lifetime::{Limit, Usage};

/// Where a pair is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// It receives, and will send once the peer is known to have it (RFC 7296 §2.8).
    Waiting,
    /// It receives and sends.
    Active,
    /// It receives; something else sends.
    Retired,
    /// A hard limit was reached: it does neither.
    Expired,
}

impl Standing {
    /// As status displays it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Expired => "expired",
        }
    }
}

/// What is so, and what was told of it. Kept apart, so that telling can be repeated.
#[derive(Debug, Default)]
pub(crate) struct State(AtomicU8);

/// The outbound half may be used.
const ACTIVE: u8 = 1;
/// A hard limit was reached.
const EXPIRED: u8 = 2;
/// Nothing is sent on the outbound half any more.
const RETIRED: u8 = 32;
const TOLD_ACTIVATED: u8 = 4;
const TOLD_SOFT: u8 = 8;
const TOLD_HARD: u8 = 16;

impl State {
    /// Whether the outbound half may be used, still.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.0.load(Ordering::Acquire) & (ACTIVE | RETIRED | EXPIRED) == ACTIVE
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.0.load(Ordering::Acquire) {
            bits if bits & EXPIRED != 0 => Standing::Expired,
            bits if bits & RETIRED != 0 => Standing::Retired,
            bits if bits & ACTIVE != 0 => Standing::Active,
            _ => Standing::Waiting,
        }
    }

    #[inline]
    pub(crate) fn is_expired(&self) -> bool {
        self.0.load(Ordering::Acquire) & EXPIRED != 0
    }

    /// Lets the outbound half be used, on command: nothing is left to tell about it.
    pub(crate) fn activate(&self) {
        self.0.fetch_or(ACTIVE | TOLD_ACTIVATED, Ordering::AcqRel);
    }

    /// Ends the use of the outbound half, for good: whatever activates it later does not bring it back.
    pub(crate) fn retire(&self) {
        self.0.fetch_or(RETIRED | TOLD_ACTIVATED, Ordering::AcqRel);
    }

    /// Traffic on the inbound half lets the outbound half be used; whether the caller is the one to tell.
    #[inline]
    pub(crate) fn used(&self) -> bool {
        self.raise(TOLD_ACTIVATED, ACTIVE)
    }

    /// A limit was reached; whether the caller is the one to tell.
    #[inline]
    pub(crate) fn reached(&self, limit: Limit) -> bool {
        match limit {
            Limit::Soft => self.raise(TOLD_SOFT, 0),
            Limit::Hard => self.raise(TOLD_HARD, EXPIRED),
        }
    }

    /// Forgets that these were told.
    pub(crate) fn tell_again(&self, usage: Usage) {
        let told = if usage.activated { TOLD_ACTIVATED } else { 0 }
            | if usage.soft { TOLD_SOFT } else { 0 }
            | if usage.hard { TOLD_HARD } else { 0 };
        self.0.fetch_and(!told, Ordering::AcqRel);
    }

    /// Sets both; whether `told` was not set before. Reads first: nearly always there is nothing to write, and the
    /// line stays shared between workers.
    #[inline]
    fn raise(&self, told: u8, fact: u8) -> bool {
        self.0.load(Ordering::Relaxed) & told == 0 && self.0.fetch_or(told | fact, Ordering::AcqRel) & told == 0
    }
}
