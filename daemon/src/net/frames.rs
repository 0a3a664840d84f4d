//! A bounded queue of byte frames that recycles its buffers: what the in-memory twins are made of.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Frames with a tag each. Full means dropped, as on a wire. Buffers are reused, so a steady state allocates nothing.
#[derive(Debug)]
pub struct Frames<T> {
    inner: Mutex<Inner<T>>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct Inner<T> {
    ready: VecDeque<(Vec<u8>, T)>,
    free: Vec<Vec<u8>>,
    closed: bool,
}

impl<T> Frames<T> {
    /// A queue of at most `capacity` frames, each of up to `size` octets without a further allocation.
    pub fn new(capacity: usize, size: usize) -> Self {
        let free = (0..capacity).map(|_| Vec::with_capacity(size)).collect();
        let inner = Inner { ready: VecDeque::with_capacity(capacity), free, closed: false };
        Self { inner: Mutex::new(inner), changed: Condvar::new(), capacity }
    }

    /// Appends a frame; `false` if the queue is full or closed.
    pub fn push(&self, frame: &[u8], tag: T) -> bool {
        self.push_pieces(std::iter::once(frame), tag)
    }

    /// Appends a frame that is made of `pieces`; `false` if the queue is full or closed.
    pub fn push_pieces<'p>(&self, pieces: impl Iterator<Item = &'p [u8]>, tag: T) -> bool {
        let mut inner = self.lock();
        if inner.closed || inner.ready.len() >= self.capacity {
            return false;
        }
        let mut buffer = inner.free.pop().unwrap_or_default();
        buffer.clear();
        pieces.for_each(|piece| buffer.extend_from_slice(piece));
        inner.ready.push_back((buffer, tag));
        drop(inner);
        self.changed.notify_all();
        true
    }

    /// Waits until a frame is there (`true`), or the queue is closed (`false`).
    pub fn wait(&self) -> bool {
        let mut inner = self.lock();
        while inner.ready.is_empty() && !inner.closed {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        !inner.closed
    }

    /// Waits until a frame is there, at most `patience`: `None` then. `Some(false)` if the queue is closed.
    pub fn wait_within(&self, patience: Duration) -> Option<bool> {
        let waiting = |inner: &mut Inner<T>| inner.ready.is_empty() && !inner.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, waiting);
        let (inner, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (!timeout.timed_out()).then_some(!inner.closed)
    }

    /// Takes the next frame, if there is one.
    pub fn pop<R>(&self, take: impl FnOnce(&mut [u8], T) -> R) -> Option<R> {
        let (mut buffer, tag) = self.lock().ready.pop_front()?;
        let result = take(&mut buffer, tag);
        self.lock().free.push(buffer);
        self.changed.notify_all();
        Some(result)
    }

    /// Takes the next frame, waiting at most `patience` for it.
    pub fn pop_within<R>(&self, patience: Duration, take: impl FnOnce(&mut [u8], T) -> R) -> Option<R> {
        let inner = self.lock();
        let waiting = |inner: &mut Inner<T>| inner.ready.is_empty() && !inner.closed;
        drop(self.changed.wait_timeout_while(inner, patience, waiting));
        self.pop(take)
    }

    /// Waits until at least `room` frames fit, at most `patience`.
    pub fn wait_room(&self, room: usize, patience: Duration) -> bool {
        let full = |inner: &mut Inner<T>| inner.ready.len() + room > self.capacity && !inner.closed;
        match self.changed.wait_timeout_while(self.lock(), patience, full) {
            Ok((_, timeout)) => !timeout.timed_out(),
            Err(_) => false,
        }
    }

    /// Ends every wait; frames pushed from now on are dropped.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// A thread that panicked while holding the lock left the queue consistent: every step under it is one push or pop.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_drops_when_full() {
        let frames = Frames::new(2, 8);
        assert!(frames.push(b"one", 1));
        assert!(frames.push(b"two", 2));
        assert!(!frames.push(b"three", 3));
        assert!(frames.wait());
        assert_eq!(frames.pop(|bytes, tag| (bytes.to_vec(), tag)), Some((b"one".to_vec(), 1)));
        assert!(frames.push(b"four", 4));
        assert_eq!(frames.pop(|_, tag| tag), Some(2));
        assert_eq!(frames.pop_within(Duration::ZERO, |_, tag| tag), Some(4));
        assert_eq!(frames.pop(|_, tag| tag), None);
    }

    #[test]
    fn close_ends_waits() {
        let frames = Frames::<()>::new(1, 8);
        frames.close();
        assert!(!frames.wait());
        assert!(!frames.push(b"late", ()));
        assert_eq!(frames.wait_within(Duration::ZERO), Some(false));
    }

    #[test]
    fn patience_ends() {
        let frames = Frames::new(1, 8);
        assert_eq!(frames.wait_within(Duration::from_millis(1)), None);
        assert!(frames.push(b"one", ()));
        assert_eq!(frames.wait_within(Duration::ZERO), Some(true));
    }
}
