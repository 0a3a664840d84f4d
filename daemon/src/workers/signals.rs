//! What the data path tells IKE: bounded, coalescing, never blocking a packet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cygnet_sad::PairId;
use cygnet_spd::{Flow, PolicyId};
use tokio::sync::Notify;

/// Something IKE must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A packet met a PROTECT policy without SA (RFC 4301 §5.1).
    Acquire {
        /// The policy.
        policy: PolicyId,
        /// The packet.
        flow: Flow,
        /// Whether every flow needs an SA of its own (populate from packet, RFC 4301 §4.4.1.2); else one signal per
        /// policy and remote address is kept.
        each: bool,
    },
    /// A worker sends on this pair for want of one of its own, and may have one (RFC 9611 §5).
    Resource {
        /// What it sends on.
        pair: PairId,
        /// Number of the worker.
        resource: u32,
    },
    /// First traffic on a new inbound SA (RFC 7296 §2.8).
    Used(PairId),
    /// A soft limit was reached: rekey.
    Soft(PairId),
    /// A hard limit was reached: delete.
    Hard(PairId),
    /// A packet came out of this SA that is outside its selectors: the peer should know (RFC 4301 §5.2). One per SA
    /// is kept.
    Selectors(PairId, Start),
}

/// The start of a packet: IP header, and what shows ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    octets: [u8; Self::LEN],
    len: u8,
}

impl Start {
    /// As ICMP quotes it at least (RFC 792, RFC 4443 §2.4), with room for a few options or extension headers.
    const LEN: usize = 96;

    /// Of `packet`.
    pub fn of(packet: &[u8]) -> Self {
        let mut start = Self { octets: [0; Self::LEN], len: 0 };
        for (to, from) in start.octets.iter_mut().zip(packet) {
            *to = *from;
            start.len += 1;
        }
        start
    }

    /// What there is of it.
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.len.into()).unwrap_or_default()
    }
}

impl Signal {
    /// Whether it asks for a new SA.
    fn is_demand(&self) -> bool {
        matches!(self, Self::Acquire { .. } | Self::Resource { .. })
    }

    /// Whether telling `other` after `self` would say nothing new.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Acquire { policy: p, flow: a, each: false }, Self::Acquire { policy: q, flow: b, .. }) => {
                p == q && a.remote == b.remote
            }
            (Self::Selectors(a, _), Self::Selectors(b, _)) => a == b,
            (a, b) => a == b,
        }
    }
}

/// Signals that may wait for the driver.
const CAPACITY: usize = 256;
/// Of these, how many may ask for new SAs: a host that scans a protected network must not keep rekeys out.
const ACQUIRES: usize = CAPACITY / 2;

/// The way from the workers to the driver.
#[derive(Debug)]
pub struct Signals {
    pending: Mutex<Vec<Signal>>,
    notify: Notify,
    dropped: AtomicU64,
}

impl Signals {
    /// Nothing pending.
    pub fn new() -> Self {
        Self { pending: Mutex::new(Vec::with_capacity(CAPACITY)), notify: Notify::new(), dropped: AtomicU64::new(0) }
    }

    /// Leaves `signal` for the driver. `false` if there is no room: it is dropped and counted.
    pub fn raise(&self, signal: Signal) -> bool {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.iter().any(|waiting| waiting.covers(&signal)) {
            return true;
        }
        let acquires = pending.iter().filter(|waiting| waiting.is_demand()).count();
        if pending.len() == CAPACITY || signal.is_demand() && acquires == ACQUIRES {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        pending.push(signal);
        drop(pending);
        self.notify.notify_one();
        true
    }

    /// Resolves when there may be something to [`take`](Self::take).
    pub async fn raised(&self) {
        self.notify.notified().await;
    }

    /// Moves everything that waits to the end of `into`.
    pub fn take(&self, into: &mut Vec<Signal>) {
        into.append(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Signals lost to a full queue.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use cygnet_spd::{Direction, Ports};

    use super::*;

    fn acquire(remote: u8, port: u16, each: bool) -> Signal {
        let ports = Ports::Pair { local: 1, remote: port };
        let (local, remote) = ([10, 0, 0, 1].into(), [10, 1, 0, remote].into());
        let flow = Flow { direction: Direction::Outbound, local, remote, protocol: 17, ports };
        Signal::Acquire { policy: PolicyId(1), flow, each }
    }

    #[test]
    fn acquires_coalesce_by_peer_or_by_flow_and_leave_room_for_rekeys() {
        let signals = Signals::new();
        for port in 0..5 {
            assert!(signals.raise(acquire(1, port, false)));
            assert!(signals.raise(acquire(2, port, true)));
        }
        let mut taken = Vec::new();
        signals.take(&mut taken);
        assert_eq!(taken.len(), 1 + 5);
        let raised = (0..=255).filter(|&remote| signals.raise(acquire(remote, 0, false))).count();
        assert_eq!((raised, signals.dropped()), (ACQUIRES, (256 - ACQUIRES) as u64));
        assert!(signals.raise(Signal::Soft(PairId(1))));
    }

    #[test]
    fn what_asks_for_new_sas_leaves_room_for_rekeys() {
        let signals = Signals::new();
        let ask = |id| Signal::Resource { pair: PairId(id), resource: 1 };
        let raised = (0..256).filter(|&id| signals.raise(ask(id))).count();
        assert_eq!(raised, ACQUIRES);
        assert!(signals.raise(ask(0)), "already waiting");
        assert!(signals.raise(Signal::Hard(PairId(1))));
    }

    #[test]
    fn one_packet_of_an_sa_is_enough() {
        let signals = Signals::new();
        for n in 0..5_u8 {
            assert!(signals.raise(Signal::Selectors(PairId(u64::from(n) % 2), Start::of(&[n; 100]))));
        }
        let mut taken = Vec::new();
        signals.take(&mut taken);
        let start = |n: u8| Signal::Selectors(PairId(n.into()), Start::of(&[n; 200]));
        assert_eq!(taken, [start(0), start(1)]);
        assert_eq!((Start::of(&[7; 200]).octets(), Start::of(&[7; 3]).octets()), (&[7; 96][..], &[7; 3][..]));
    }

    #[test]
    fn duplicates_coalesce_and_overflow_is_counted() {
        let signals = Signals::new();
        for _ in 0..3 {
            assert!(signals.raise(Signal::Used(PairId(1))));
        }
        for id in 2..=CAPACITY as u64 {
            assert!(signals.raise(Signal::Soft(PairId(id))));
        }
        assert!(!signals.raise(Signal::Hard(PairId(1))));
        assert!(signals.raise(Signal::Used(PairId(1))), "already waiting");
        assert_eq!(signals.dropped(), 1);
        let mut taken = Vec::new();
        signals.take(&mut taken);
        assert_eq!(taken.len(), CAPACITY);
        assert_eq!(taken.first(), Some(&Signal::Used(PairId(1))));
        assert!(signals.raise(Signal::Hard(PairId(1))));
    }
}
