//! Packets that wait for their SA (RFC 4301 §5.1: "it may be buffered").
//!
//! A worker puts them here, the driver lets them go as soon as the SA is there, in their order. While it does, workers
//! that see the new SA wait for it, so that newer packets do not overtake.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::shunt::Key;

/// Packets for one policy and peer: the start of a few dozen connections. More would be a burst on the new SA of what
/// its senders have repeated by then.
pub const PER_PEER: usize = 64;
/// Packets in all, so that a host that scans a protected network takes a bounded share of memory.
const TOTAL: usize = 1024;
/// Octets in all: packets may be large.
const OCTETS: usize = 2 << 20;
/// Senders give up or have repeated themselves after this; a negotiation seldom takes a second.
pub(super) const AGE: Duration = Duration::from_secs(10);
/// Buffers of this size and below are kept for the next packet.
const RECYCLED: usize = 2048;

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) since: Instant,
    pub(super) packet: Vec<u8>,
}

/// What becomes of a packet that was looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It waits on.
    Wait,
    /// It is gone.
    Gone,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Hold {
    queue: Mutex<Queue>,
    /// Packets in it: read without the lock.
    len: AtomicUsize,
    /// Packets are being let go.
    releasing: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Held>,
    octets: usize,
    peers: HashMap<Key, usize>,
    free: Vec<Vec<u8>>,
}

impl Hold {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// Keeps a copy of `packet`; `false` if there is no room.
    pub(super) fn push(&self, key: Key, now: Instant, packet: &[u8]) -> bool {
        let mut queue = self.lock();
        let Queue { packets, octets, peers, free } = &mut *queue;
        let full = packets.len() >= TOTAL || *octets + packet.len() > OCTETS;
        if full || peers.get(&key).is_some_and(|&waiting| waiting >= PER_PEER) {
            return false;
        }
        *peers.entry(key).or_default() += 1;
        *octets += packet.len();
        let mut buffer = free.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(packet);
        packets.push_back(Held { key, since: now, packet: buffer });
        self.len.store(packets.len(), Ordering::Release);
        true
    }

    /// What a worker calls after it took its snapshot of the SAD: if that shows an SA for which packets wait, they are
    /// on their way when this returns.
    #[inline]
    pub(super) fn give_way(&self) {
        if self.releasing.load(Ordering::Acquire) {
            drop(self.lock());
        }
    }

    /// Makes `change`, such as the installation of an SA, and has each packet looked at `again` before any worker acts
    /// upon the change. Oldest first.
    pub(super) fn reconsider<R>(&self, change: impl FnOnce() -> R, mut again: impl FnMut(&Held) -> Again) -> R {
        // Locked first: a worker that sees the flag finds the lock taken until all is done.
        let mut queue = self.lock();
        self.releasing.store(true, Ordering::Release);
        let _done = Done(&self.releasing);
        let result = change();
        let Queue { packets, octets, peers, free } = &mut *queue;
        for _ in 0..packets.len() {
            let Some(held) = packets.pop_front() else { break };
            if again(&held) == Again::Wait {
                packets.push_back(held);
                continue;
            }
            *octets -= held.packet.len();
            if let Some(waiting) = peers.get_mut(&held.key) {
                *waiting -= 1;
                if *waiting == 0 {
                    peers.remove(&held.key);
                }
            }
            if held.packet.capacity() <= RECYCLED {
                free.push(held.packet);
            }
        }
        self.len.store(packets.len(), Ordering::Release);
        result
    }

    /// Every step under the lock leaves a valid queue.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clears the flag even when something panics: no worker may wait for ever.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use cygnet_spd::PolicyId;

    use super::*;

    fn key(policy: u32) -> Key {
        Key { policy: PolicyId(policy), remote: None }
    }

    /// Lets go of the packets of one policy; what they were.
    fn release(hold: &Hold, of: u32) -> Vec<Vec<u8>> {
        let mut gone = Vec::new();
        hold.reconsider(
            || (),
            |held| {
                if held.key != key(of) {
                    return Again::Wait;
                }
                gone.push(held.packet.clone());
                Again::Gone
            },
        );
        gone
    }

    #[test]
    fn packets_leave_in_order_and_others_stay_in_theirs() {
        let (hold, now) = (Hold::default(), Instant::now());
        for n in 0..6u8 {
            assert!(hold.push(key(u32::from(n % 2)), now, &[n]));
        }
        assert_eq!(release(&hold, 1), [[1], [3], [5]]);
        assert!(!hold.is_empty());
        assert_eq!(release(&hold, 0), [[0], [2], [4]]);
        assert!(hold.is_empty());
        assert!(hold.lock().peers.is_empty());
        let queue = hold.lock();
        assert_eq!((queue.octets, queue.free.len()), (0, 6));
    }

    #[test]
    fn every_bound_holds() {
        let (hold, now) = (Hold::default(), Instant::now());
        let pushed = |key, size: usize, tries| (0..tries).filter(|_| hold.push(key, now, &vec![0; size])).count();
        assert_eq!(pushed(key(0), 10, PER_PEER + 5), PER_PEER);
        let others: usize = (1..100).map(|n| pushed(key(n), 10, PER_PEER)).sum();
        assert_eq!(PER_PEER + others, TOTAL);
        for n in 0..100 {
            release(&hold, n);
        }
        assert_eq!((1..100).map(|n| pushed(key(n), 65_535, PER_PEER)).sum::<usize>(), OCTETS / 65_535);
        for n in 0..100 {
            release(&hold, n);
        }
        assert!(hold.lock().free.iter().all(|buffer| buffer.capacity() <= RECYCLED));
    }

    #[test]
    fn whoever_sees_the_change_finds_the_packets_gone() {
        let (hold, now) = (Hold::default(), Instant::now());
        assert!(hold.push(key(1), now, b"first"));
        let (installed, sent) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !installed.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                hold.give_way();
                assert!(sent.load(Ordering::Acquire), "a newer packet would overtake");
            });
            hold.reconsider(
                || installed.store(true, Ordering::Release),
                |_| {
                    std::thread::sleep(Duration::from_millis(20));
                    sent.store(true, Ordering::Release);
                    Again::Gone
                },
            );
        });
    }
}
