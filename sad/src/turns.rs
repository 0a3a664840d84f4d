//! Threads that seal for one SA at the same time send one after the other, in the order of their sequence numbers.
//!
//! A receiver refuses what is left of its anti-replay window (RFC 4303 §3.4.3), and many windows are 32 or 64 packets
//! long: less than a batch. So a thread that reserved numbers later waits, once it has sealed, until those before it
//! have sent.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The order of the batches of an SA.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    passed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Turns that were drawn.
    drawn: u64,
    /// Turns that are over: the number of the one that is on.
    over: u64,
    /// Threads that wait for theirs.
    waiting: u32,
}

/// A place in the order. It is over when this is dropped, but not before those that come before it.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    /// Reserves, and draws the turn that belongs to what was reserved. No turn is drawn where `reserve` fails.
    #[inline]
    pub(crate) fn draw<R, E>(&self, reserve: impl FnOnce() -> Result<R, E>) -> Result<(R, Turn<'_>), E> {
        let mut state = self.lock();
        let reserved = reserve()?;
        let number = state.drawn;
        state.drawn += 1;
        Ok((reserved, Turn { turns: self, number }))
    }

    /// Every step under the lock is one assignment, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, number: u64) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.over != number {
            state.waiting += 1;
            state = self.passed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state
    }
}

impl Turn<'_> {
    /// Waits until all that was reserved before is sent, or given up. Whoever holds turns of several SAs must have drawn
    /// them one after the other, each after the one before was over.
    #[inline]
    pub fn wait(&self) {
        drop(self.turns.wait(self.number));
    }
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        let mut state = self.turns.wait(self.number);
        state.over += 1;
        let others = state.waiting > 0;
        drop(state);
        if others {
            self.turns.passed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_reserved_first_sends_first() {
        let (turns, next, sent) = (Turns::default(), AtomicU32::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let (number, turn) =
                            turns.draw(|| Ok::<_, ()>(next.fetch_add(1, Ordering::Relaxed))).expect("reserved");
                        // Some seal for longer.
                        if number % 50 == 7 {
                            thread::sleep(Duration::from_micros(200));
                        }
                        turn.wait();
                        sent.lock().expect("no panic").push(number);
                    }
                });
            }
        });
        let sent = sent.into_inner().expect("no panic");
        assert_eq!(sent, (0..2000).collect::<Vec<_>>());
    }

    #[test]
    fn who_reserves_nothing_or_gives_up_holds_nobody_up() {
        let turns = Turns::default();
        assert!(turns.draw(|| Err::<(), _>("exhausted")).is_err());
        let ((), given_up) = turns.draw(|| Ok::<_, ()>(())).expect("reserved");
        drop(given_up);
        let ((), turn) = turns.draw(|| Ok::<_, ()>(())).expect("reserved");
        turn.wait();
    }
}
