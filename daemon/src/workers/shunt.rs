//! What becomes of packets that need an SA which is not there: is it being negotiated, or could it not be had?
//!
//! The driver writes, workers read: on the slow path only, when a policy protects and no SA fits. Not a word here
//! matters once the SA is up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cygnet_spd::{Mode, Pfp, PolicyId, SaState, Terms};

/// Entries kept. Beyond it negotiations go on, only their failures are forgotten and they are asked for more often.
/// One per policy, or per policy and peer where each peer has an SA of its own.
const CAPACITY: usize = 4096;
/// An entry nobody asked about is of no use: a negotiation lasts about a minute at most.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// While packets come and no SA does, IKE is reminded this often. It knows what it is doing already, and does nothing.
const REMINDER: Duration = Duration::from_secs(1);

/// What waits and fails together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The policy.
    pub policy: PolicyId,
    /// The address on the peer's side, where the policy makes an SA for each: in transport mode, or populated from
    /// the packet.
    pub remote: Option<IpAddr>,
}

impl Key {
    /// Of a packet to `remote`.
    pub fn new(policy: PolicyId, terms: &Terms, remote: IpAddr) -> Self {
        let each = terms.mode == Mode::Transport || terms.pfp.remote_address;
        Self { policy, remote: each.then_some(remote) }
    }
}

/// Whether every flow of a policy needs an SA of its own.
pub(super) fn each_flow(pfp: &Pfp) -> bool {
    *pfp != Pfp::default()
}

/// What is known of an SA that is not there.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// When it was last asked for.
    asked: Instant,
    /// Set once a negotiation failed, until the next one succeeds: how long until the next attempt.
    wait: Option<Duration>,
    /// The next attempt is not due before; it failed.
    until: Option<Instant>,
}

/// An SA that is wanted and not there, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shunt {
    /// Of what.
    pub key: Key,
    /// How it stands: never [`SaState::Up`].
    pub state: SaState,
    /// When the next attempt is due, if the last one failed.
    pub until: Option<Instant>,
}

/// The states of all SAs that are wanted and not there.
#[derive(Debug, Default)]
pub struct Shunts {
    entries: ArcSwap<HashMap<Key, Entry>>,
}

impl Shunts {
    /// How the SA stands that is not there, and whether to ask for it.
    pub fn state(&self, key: &Key, now: Instant) -> (SaState, bool) {
        match self.entries.load().get(key) {
            None => (SaState::Negotiating, true),
            Some(Entry { until: Some(until), .. }) if now < *until => (SaState::Failed, false),
            Some(Entry { until: Some(_), .. }) => (SaState::Negotiating, true),
            Some(entry) => (SaState::Negotiating, now.saturating_duration_since(entry.asked) >= REMINDER),
        }
    }

    /// IKE was asked for it.
    pub fn asked(&self, key: Key, now: Instant) {
        self.change(|entries| {
            if entries.len() < CAPACITY || entries.contains_key(&key) {
                let entry = entries.entry(key).or_insert(Entry { asked: now, wait: None, until: None });
                (entry.asked, entry.until) = (now, None);
            }
        });
    }

    /// A negotiation failed for a policy with the peer at `remote`, or with any if that is unspecified: whoever waits
    /// for it waits for the next attempt, after `wait.0`, and twice as long each time up to `wait.1`. What nobody
    /// asked for does not fail: a stranger that fails to negotiate with us closes nothing.
    pub fn failed(&self, policy: PolicyId, remote: IpAddr, wait: (Duration, Duration), now: Instant) {
        let concerned = |key: &Key| {
            let peer = key.remote.is_none_or(|waiting| remote.is_unspecified() || waiting == remote);
            key.policy == policy && peer
        };
        if !self.entries.load().keys().any(concerned) {
            return;
        }
        self.change(|entries| {
            for (_, entry) in entries.iter_mut().filter(|(key, entry)| concerned(key) && entry.until.is_none()) {
                let next = entry.wait.map_or(wait.0, |before| before.saturating_mul(2)).min(wait.1);
                (entry.wait, entry.until) = (Some(next), now.checked_add(next));
            }
        });
    }

    /// An SA of `policy` is there; `peer` says whether it is to this remote address.
    pub fn up(&self, policy: PolicyId, peer: impl Fn(IpAddr) -> bool) {
        let concerned = |key: &Key| key.policy == policy && key.remote.is_none_or(&peer);
        if self.entries.load().keys().any(concerned) {
            self.change(|entries| entries.retain(|key, _| !concerned(key)));
        }
    }

    /// Forgets everything: what failed under one configuration may succeed under another.
    pub fn clear(&self) {
        self.entries.store(Arc::default());
    }

    /// Forgets what nobody asks for any more.
    pub fn sweep(&self, now: Instant) {
        let old = |entry: &Entry| {
            now.saturating_duration_since(entry.until.unwrap_or(entry.asked).max(entry.asked)) >= FORGOTTEN
        };
        if self.entries.load().values().any(old) {
            self.change(|entries| entries.retain(|_, entry| !old(entry)));
        }
    }

    /// Every SA that is wanted and not there, in no order.
    pub fn entries(&self, now: Instant) -> Vec<Shunt> {
        let read = |(key, entry): (&Key, &Entry)| {
            let until = entry.until.filter(|until| now < *until);
            let state = if until.is_some() { SaState::Failed } else { SaState::Negotiating };
            Shunt { key: *key, state, until }
        };
        self.entries.load().iter().map(read).collect()
    }

    /// Changes a copy: readers hold no lock, and changes are as rare as negotiations.
    fn change(&self, change: impl FnOnce(&mut HashMap<Key, Entry>)) {
        let mut entries = HashMap::clone(&self.entries.load());
        change(&mut entries);
        self.entries.store(Arc::new(entries));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

    fn key(policy: u32, remote: Option<u8>) -> Key {
        Key { policy: PolicyId(policy), remote: remote.map(|last| IpAddr::from([192, 0, 2, last])) }
    }

    #[test]
    fn a_failure_holds_for_longer_each_time_until_the_sa_is_up() {
        let (shunts, start, peer) = (Shunts::default(), Instant::now(), IpAddr::from([192, 0, 2, 1]));
        let at = |seconds| start + Duration::from_secs(seconds);
        let (waiting, other) = (key(1, Some(1)), key(1, Some(2)));
        shunts.failed(PolicyId(1), peer, WAIT, start);
        assert_eq!(shunts.state(&waiting, start), (SaState::Negotiating, true), "nobody asked: nothing failed");
        let mut now = 0;
        for wait in [1, 2, 3, 3] {
            shunts.asked(waiting, at(now));
            shunts.asked(other, at(now));
            assert_eq!(shunts.state(&waiting, at(now)), (SaState::Negotiating, false));
            assert_eq!(shunts.state(&waiting, at(now + 1)), (SaState::Negotiating, true), "a reminder");
            shunts.failed(PolicyId(1), peer, WAIT, at(now));
            shunts.failed(PolicyId(1), peer, WAIT, at(now));
            shunts.failed(PolicyId(2), peer, WAIT, at(now));
            assert_eq!(shunts.state(&waiting, at(now + wait - 1)), (SaState::Failed, false));
            assert_eq!(shunts.state(&other, at(now)), (SaState::Negotiating, false));
            now += wait;
            assert_eq!(shunts.state(&waiting, at(now)), (SaState::Negotiating, true), "the next attempt");
        }
        shunts.up(PolicyId(1), |remote| remote == peer);
        shunts.asked(waiting, at(now));
        shunts.failed(PolicyId(1), peer, WAIT, at(now));
        assert_eq!(shunts.state(&waiting, at(now + 1)), (SaState::Negotiating, true), "counted afresh");
        shunts.sweep(at(now + 200));
        assert!(shunts.entries.load().is_empty());
    }

    #[test]
    fn a_failure_without_address_is_one_of_the_whole_policy() {
        let (shunts, now) = (Shunts::default(), Instant::now());
        for key in [key(1, None), key(1, Some(7)), key(2, None)] {
            shunts.asked(key, now);
        }
        shunts.failed(PolicyId(1), IpAddr::from([0, 0, 0, 0]), WAIT, now);
        let mut entries = shunts.entries(now);
        entries.sort_by_key(|entry| (entry.key.policy, entry.key.remote));
        assert_eq!(
            entries.first(),
            Some(&Shunt { key: key(1, None), state: SaState::Failed, until: Some(now + WAIT.0) })
        );
        assert_eq!(entries.last(), Some(&Shunt { key: key(2, None), state: SaState::Negotiating, until: None }));
        let states = [key(1, None), key(1, Some(7)), key(2, None)].map(|key| shunts.state(&key, now).0);
        assert_eq!(states, [SaState::Failed, SaState::Failed, SaState::Negotiating]);
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let (shunts, now) = (Shunts::default(), Instant::now());
        shunts.change(|entries| {
            let entry = Entry { asked: now, wait: None, until: None };
            entries.extend((0..CAPACITY as u32).map(|policy| (key(policy, None), entry)));
        });
        shunts.asked(key(u32::MAX, None), now);
        assert_eq!(shunts.entries.load().len(), CAPACITY);
    }
}
