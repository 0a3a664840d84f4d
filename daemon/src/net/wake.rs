//! Waiting on file descriptors, and being woken up for good.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A stop signal that threads blocked in [`wait`] notice. Once raised it stays: nobody drains the pipe.
#[derive(Debug)]
pub struct Wake {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Wake {
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader, writer })
    }

    /// Wakes everyone, now and later.
    pub fn raise(&self) {
        let _ = (&self.writer).write(&[1]);
    }
}

/// How many descriptors [`wait`] takes.
pub const MAX_WAIT: usize = 63;

/// What [`wait`] waited for: a bit per descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read.
    pub readable: u64,
    /// There is an error to take.
    pub failed: u64,
}

/// Blocks until one of `fds` (at most [`MAX_WAIT`]) is readable or failed. Returns `None` if `wake` was raised.
///
/// # Errors
/// As `poll(2)`, interruptions excepted.
pub fn wait<'a>(wake: &'a Wake, fds: impl Iterator<Item = BorrowedFd<'a>>) -> io::Result<Option<Ready>> {
    wait_within(wake, fds, None)
}

/// As [`wait`], at most about `patience`: then nothing is readable.
///
/// # Errors
/// As `poll(2)`, interruptions excepted.
pub fn wait_within<'a>(
    wake: &'a Wake,
    fds: impl Iterator<Item = BorrowedFd<'a>>,
    patience: Option<Duration>,
) -> io::Result<Option<Ready>> {
    let timeout = match patience {
        None => PollTimeout::NONE,
        Some(patience) => PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX),
    };
    let stop = wake.reader.as_fd();
    let mut set: [PollFd<'_>; MAX_WAIT + 1] = std::array::from_fn(|_| PollFd::new(stop, PollFlags::POLLIN));
    let mut count = 1;
    for (slot, fd) in set.iter_mut().skip(1).zip(fds) {
        *slot = PollFd::new(fd, PollFlags::POLLIN);
        count += 1;
    }
    let Some(set) = set.get_mut(..count) else { return Ok(None) };
    loop {
        match poll(set, timeout) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let has = |fd: &PollFd<'_>, any: PollFlags| fd.revents().is_some_and(|events| events.intersects(any));
    let (Some(stopped), Some(set)) = (set.first(), set.get(1..)) else { return Ok(None) };
    if has(stopped, PollFlags::all()) {
        return Ok(None);
    }
    let mask = |any| set.iter().enumerate().fold(0, |mask, (bit, fd)| mask | (u64::from(has(fd, any)) << bit));
    // A descriptor that hung up reads as its end, one that is none as an error.
    Ok(Some(Ready { readable: mask(PollFlags::all() - PollFlags::POLLERR), failed: mask(PollFlags::POLLERR) }))
}

/// Blocks until `fd` takes more, at most `milliseconds`.
pub fn wait_writable(fd: BorrowedFd<'_>, milliseconds: u8) {
    let _ = poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::from(milliseconds));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_a_bit_per_descriptor_and_stop_wins() {
        let wake = Wake::new().expect("pipe");
        let (a, _keep) = io::pipe().expect("pipe");
        let (b, mut feed) = io::pipe().expect("pipe");
        feed.write_all(b"x").expect("room in a fresh pipe");
        assert_eq!(
            wait(&wake, [a.as_fd(), b.as_fd()].into_iter()).expect("poll"),
            Some(Ready { readable: 0b10, failed: 0 })
        );
        wake.raise();
        assert_eq!(wait(&wake, [a.as_fd(), b.as_fd()].into_iter()).expect("poll"), None);
        assert_eq!(wait(&wake, std::iter::empty()).expect("poll"), None, "once raised, always raised");
    }
}
