//! Auditable events: every discard with its reason and what is known of the packet (RFC 4301 §4.4.1, §5.2, §9,
//! RFC 4303 §4).
//!
//! ```text
//! worker ── report ──► a bucket per reason ──► bounded queue ──► driver ──► log, vici
//!                            └──────────────────────┴──► suppressed: counted, told with the next one
//! ```
//!
//! The path of packets neither waits nor allocates here: a report that finds its bucket empty, the queue full or taken
//! is suppressed. Whoever sends ten thousand forged packets a second gets a line a second, not the disk.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::Instant;

use cygnet_esp::Spi;
use cygnet_sad::PairId;
use cygnet_spd::{Flow, PolicyId};
use tokio::sync::Notify;

use super::counters::{Clear, Inbound, Outbound};
use super::rate::Rate;

/// Events that wait for the driver, which takes them within milliseconds.
const QUEUE: usize = 128;
/// Events per reason at once.
const BURST: u32 = 10;
/// Events per reason and second: what a person can read, a thousandth of what a flood brings.
const PER_SECOND: u32 = 1;

/// Why a packet was discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// From the inner network.
    Outbound(Outbound),
    /// From the outer network, protected.
    Inbound(Inbound),
    /// From the outer network, in the clear (RFC 4301 §5.2 step 3b).
    Clear(Clear),
}

impl Reason {
    const COUNT: usize = Outbound::ALL.len() + Inbound::ALL.len() + Clear::ALL.len();

    fn index(self) -> usize {
        match self {
            Self::Outbound(fate) => fate as usize,
            Self::Inbound(fate) => Outbound::ALL.len() + fate as usize,
            Self::Clear(fate) => Outbound::ALL.len() + Inbound::ALL.len() + fate as usize,
        }
    }

    /// The name of its counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outbound(fate) => fate.name(),
            Self::Inbound(fate) => fate.name(),
            Self::Clear(fate) => fate.name(),
        }
    }
}

/// A discarded packet, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditEvent {
    /// Why, and in which direction.
    pub reason: Reason,
    /// Its selectors, if it could be read.
    pub flow: Option<Flow>,
    /// Source of the outer packet, which anybody may have written.
    pub peer: Option<IpAddr>,
    /// Its SPI, or that of the SA it should have gone through.
    pub spi: Option<Spi>,
    /// Its sequence number: the 32 bits that the packet shows.
    pub sequence: Option<u32>,
    /// The SA.
    pub pair: Option<PairId>,
    /// The policy.
    pub policy: Option<PolicyId>,
    /// Events of this reason that were not told since the last one.
    pub suppressed: u64,
}

impl AuditEvent {
    /// An event of which nothing else is known.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, flow: None, peer: None, spi: None, sequence: None, pair: None, policy: None, suppressed: 0 }
    }
}

impl fmt::Display for AuditEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "discarded: {}", self.reason.name())?;
        if let Some(flow) = &self.flow {
            let (local, remote) = flow.selectors();
            write!(f, ", local {local}, remote {remote}")?;
        }
        if let Some(peer) = self.peer {
            write!(f, ", from {peer}")?;
        }
        if let Some(spi) = self.spi {
            write!(f, ", SPI {spi}")?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, ", sequence number {sequence}")?;
        }
        if self.suppressed > 0 {
            write!(f, ", and {} more like this", self.suppressed)?;
        }
        Ok(())
    }
}

/// The way from the workers, and from the filter of clear packets, to the driver.
#[derive(Debug)]
pub struct Audit {
    buckets: [Bucket; Reason::COUNT],
    queue: Mutex<Vec<AuditEvent>>,
    notify: Notify,
    suppressed: AtomicU64,
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    suppressed: AtomicU64,
}

impl Audit {
    /// Nothing pending.
    pub fn new() -> Self {
        let bucket = || Bucket { rate: Rate::new(PER_SECOND, BURST), suppressed: AtomicU64::new(0) };
        Self {
            buckets: std::array::from_fn(|_| bucket()),
            queue: Mutex::new(Vec::with_capacity(QUEUE)),
            notify: Notify::new(),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Tells `event`, unless there were too many of its kind lately.
    pub fn report(&self, now: Instant, event: AuditEvent) {
        let Some(bucket) = self.buckets.get(event.reason.index()) else { return };
        if !bucket.rate.admits(now) || !self.push(bucket, event) {
            bucket.suppressed.fetch_add(1, Ordering::Relaxed);
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn push(&self, bucket: &Bucket, event: AuditEvent) -> bool {
        let mut queue = match self.queue.try_lock() {
            Ok(queue) => queue,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if queue.len() >= QUEUE {
            return false;
        }
        let before = bucket.suppressed.swap(0, Ordering::Relaxed);
        queue.push(AuditEvent { suppressed: event.suppressed.saturating_add(before), ..event });
        drop(queue);
        self.notify.notify_one();
        true
    }

    /// Resolves when there may be something to [`take`](Self::take).
    pub async fn raised(&self) {
        self.notify.notified().await;
    }

    /// Moves everything that waits to the end of `into`.
    pub fn take(&self, into: &mut Vec<AuditEvent>) {
        into.append(&mut self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Events that were not told.
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FORGED: AuditEvent = AuditEvent::new(Reason::Inbound(Inbound::Forged));
    const DISCARDED: AuditEvent = AuditEvent::new(Reason::Outbound(Outbound::Discarded));

    fn taken(audit: &Audit) -> Vec<AuditEvent> {
        let mut taken = Vec::new();
        audit.take(&mut taken);
        taken
    }

    #[test]
    fn a_flood_of_one_reason_leaves_others_alone_and_is_summed_up() {
        let (audit, start) = (Audit::new(), Instant::now());
        for _ in 0..10_000 {
            audit.report(start, FORGED);
        }
        audit.report(start, DISCARDED);
        let told = taken(&audit);
        assert_eq!(told.len(), BURST as usize + 1);
        assert_eq!(told.last(), Some(&DISCARDED));
        let missed = 10_000 - u64::from(BURST);
        assert_eq!(audit.suppressed(), missed);
        audit.report(start + Duration::from_secs(1), FORGED);
        audit.report(start + Duration::from_secs(1), FORGED);
        assert_eq!(taken(&audit), [AuditEvent { suppressed: missed, ..FORGED }]);
    }

    #[test]
    fn a_queue_that_is_full_or_taken_holds_nobody_up() {
        let (audit, start) = (Audit::new(), Instant::now());
        let held = audit.queue.lock().expect("no panic");
        audit.report(start, FORGED);
        drop(held);
        assert!(taken(&audit).is_empty());
        for second in 0..2 * QUEUE as u64 {
            audit.report(start + Duration::from_secs(second), FORGED);
        }
        assert_eq!((taken(&audit).len(), audit.suppressed()), (QUEUE, 1 + QUEUE as u64));
    }

    #[test]
    fn every_reason_has_a_bucket_of_its_own() {
        let outbound = Outbound::ALL.iter().map(|&fate| Reason::Outbound(fate));
        let inbound = Inbound::ALL.iter().map(|&fate| Reason::Inbound(fate));
        let clear = Clear::ALL.iter().map(|&fate| Reason::Clear(fate));
        let indices: Vec<usize> = outbound.chain(inbound).chain(clear).map(Reason::index).collect();
        assert_eq!(indices, (0..Reason::COUNT).collect::<Vec<_>>());
    }
}
