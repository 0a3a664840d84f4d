//! The inner network: IP packets to protect come from a TUN device, unprotected ones go back into it.
//!
//! [`Tun`] is what the workers see; [`TunDevice`] is the kernel's, [`MemoryTun`] its twin.

mod device;
mod memory;

use std::io;
use std::time::Duration;

pub use self::device::TunDevice;
pub use self::memory::MemoryTun;

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

/// A source and sink of whole IP packets. Used by several threads at once.
pub trait Tun: Send + Sync {
    /// Waits until there may be a packet to read, with `patience` at most about so long.
    ///
    /// # Errors
    /// When the device is gone.
    fn wait(&self, patience: Option<Duration>) -> io::Result<Wait>;

    /// Reads one packet into `buffer` and returns its length, or `None` if there is none at the moment. A packet longer
    /// than `buffer` is cut off.
    ///
    /// # Errors
    /// When the device is gone.
    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// Hands one packet to the inner network.
    ///
    /// # Errors
    /// When the device refuses it: down, or not an IP packet.
    fn write(&self, packet: &[u8]) -> io::Result<()>;

    /// Name of the interface.
    fn name(&self) -> &str;

    /// Makes every present and future [`wait`](Tun::wait) return [`Wait::Stopped`].
    fn stop(&self);
}
