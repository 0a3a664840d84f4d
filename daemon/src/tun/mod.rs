//! The inner network: IP packets to protect come from a TUN device, unprotected ones go back into it.
//!
//! [`Tun`] is what the workers see; [`TunDevice`] is the kernel's, [`MemoryTun`] its twin.

mod device;
mod memory;

use std::io;

pub use self::device::TunDevice;
pub use self::memory::MemoryTun;

/// A source and sink of whole IP packets. Used by several threads at once.
pub trait Tun: Send + Sync {
    /// Waits until there may be a packet to read (`true`), or the device was stopped (`false`).
    ///
    /// # Errors
    /// When the device is gone.
    fn wait(&self) -> io::Result<bool>;

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

    /// Makes every present and future [`wait`](Tun::wait) return `false`.
    fn stop(&self);
}
