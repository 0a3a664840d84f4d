//! The timers of one IKE SA: one fixed table. Retransmission has its own, in the [`Window`](super::window::Window);
//! children carry theirs.

use std::time::{Duration, Instant};

use rand::CryptoRng;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A half-open SA is given up, or a closed one forgotten.
    Forget,
    /// The soft lifetime: rekey.
    Rekey,
    /// The hard lifetime: delete.
    Expire,
    /// The peer was silent for the liveness interval (RFC 7296 §2.4).
    Liveness,
    /// Queued exchanges that had to wait may be tried again (TEMPORARY_FAILURE, RFC 7296 §2.25).
    Queue,
    /// The same for those that nothing depends on: one more Child SA for a resource (RFC 9611).
    Optional,
}

const ALL: [Timer; 6] = [Timer::Forget, Timer::Rekey, Timer::Expire, Timer::Liveness, Timer::Queue, Timer::Optional];

/// The deadlines.
#[derive(Debug, Default)]
pub(crate) struct Timers([Option<Instant>; ALL.len()]);

impl Timers {
    /// Sets or moves a timer.
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    /// Stops a timer.
    pub(crate) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    /// Stops all of them.
    pub(crate) fn stop_all(&mut self) {
        self.0 = Default::default();
    }

    /// When a timer runs out.
    pub(crate) fn at(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    /// When the next one runs out.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes one that has run out.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = ALL.into_iter().find(|t| self.0[*t as usize].is_some_and(|at| at <= now))?;
        self.stop(timer);
        Some(timer)
    }
}

/// `time` less a random part of `jitter`, so that two sides with the same configuration seldom act together
/// (RFC 7296 §2.8). Never less than half of `time`.
pub(crate) fn jittered(rng: &mut dyn CryptoRng, time: Duration, jitter: Duration) -> Duration {
    let most = jitter.min(time / 2).as_millis().min(u64::MAX as u128) as u64;
    match most {
        0 => time,
        most => time - Duration::from_millis(rng.next_u64() % (most + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_timer_is_next_and_each_fires_once() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.set(Timer::Rekey, now + Duration::from_secs(2));
        timers.set(Timer::Liveness, now + Duration::from_secs(1));
        assert_eq!(timers.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(timers.expired(now), None);
        let later = now + Duration::from_secs(5);
        assert_eq!(timers.expired(later), Some(Timer::Rekey));
        assert_eq!(timers.expired(later), Some(Timer::Liveness));
        assert_eq!(timers.expired(later), None);
        assert_eq!(timers.next(), None);
    }
}
