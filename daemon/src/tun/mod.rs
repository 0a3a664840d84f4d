//! The inner network: IP packets to protect come from a TUN device, unprotected ones go back into it.
//!
//! [`Tun`] is what the workers see; [`TunDevice`] is the kernel's, [`MemoryTun`] its twin.

mod device;
mod memory;
mod queue;

use std::io::{self, IoSlice};
use std::ops::Range;
use std::time::Duration;

pub use self::device::TunDevice;
pub use self::memory::MemoryTun;

use crate::offload::{Head, Offloads};

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// There may be a packet.
    Ready,
    /// There was none for as long as the caller has patience.
    Idle,
    /// The device was stopped.
    Stopped,
}

/// What was read from a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it is in the buffer, octets.
    pub at: Range<usize>,
    /// What is still to be done with it.
    pub head: Head,
}

/// Octets of the largest frame, and of what the kernel puts before it.
pub const MAX_FRAME: usize = Head::LEN + 65_535;

/// A source and sink of whole IP packets. Used by several threads at once, each of which reads a queue of its own.
pub trait Tun: Send + Sync {
    /// Queues to read from, numbered from 0. The packets of a flow are all in one.
    fn queues(&self) -> usize {
        1
    }

    /// Waits until there may be a packet in `queue` to read, with `patience` at most about so long.
    ///
    /// # Errors
    /// When the device is gone.
    fn wait(&self, queue: usize, patience: Option<Duration>) -> io::Result<Wait>;

    /// Reads one packet, or several that are still one frame, from `queue` into `buffer`, or returns `None` if there is
    /// none at the moment. What does not fit `buffer` is cut off; [`MAX_FRAME`] octets always fit.
    ///
    /// # Errors
    /// When the device is gone.
    fn read(&self, queue: usize, buffer: &mut [u8]) -> io::Result<Option<Frame>>;

    /// Hands one packet to the inner network, as one that `queue` received: threads do best with one each.
    ///
    /// # Errors
    /// When the device refuses it: down, or not an IP packet.
    fn write(&self, queue: usize, packet: &[u8]) -> io::Result<()>;

    /// Hands several packets to the inner network as one frame, which is in `pieces`. Only with the
    /// [`offloads`](Tun::offloads) for it.
    ///
    /// # Errors
    /// As [`write`](Tun::write).
    fn write_frame(&self, queue: usize, head: &Head, pieces: &[IoSlice<'_>]) -> io::Result<()>;

    /// Which frames of several packets it takes. Those it gives may be of any kind.
    fn offloads(&self) -> Offloads;

    /// Name of the interface.
    fn name(&self) -> &str;

    /// Makes every present and future [`wait`](Tun::wait) return [`Wait::Stopped`].
    fn stop(&self);
}
