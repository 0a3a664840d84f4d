//! The kernel's TUN device, through the `tun` crate. It is not persistent: it goes with the process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{Tun, Wait};
use crate::net::wake::{self, Ready, Wake};

/// A TUN interface that carries bare IP packets.
pub struct TunDevice {
    device: tun::Device,
    name: String,
    wake: Wake,
}

impl TunDevice {
    /// Creates interface `name` and brings it up. Packets the kernel hands over are at most `mtu` octets, which bounds
    /// the outer packets too: inner size plus ESP, UDP and IP headers.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, without access to /dev/net/tun, or when the name is taken.
    pub fn create(name: &str, mtu: u16) -> io::Result<Self> {
        let mut config = tun::Configuration::default();
        config.tun_name(name).mtu(mtu).up();
        let device = tun::create(&config).map_err(io::Error::other)?;
        device.set_nonblock()?;
        Ok(Self { device, name: name.to_owned(), wake: Wake::new()? })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to `self.device`, which the returned borrow keeps alive.
        unsafe { BorrowedFd::borrow_raw(self.device.as_raw_fd()) }
    }
}

impl std::fmt::Debug for TunDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunDevice").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tun for TunDevice {
    fn wait(&self, patience: Option<Duration>) -> io::Result<Wait> {
        Ok(match wake::wait_within(&self.wake, std::iter::once(self.fd()), patience)? {
            None => Wait::Stopped,
            Some(Ready { readable: 0, failed: 0 }) => Wait::Idle,
            Some(_) => Wait::Ready,
        })
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.device.recv(buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&self, packet: &[u8]) -> io::Result<()> {
        self.device.send(packet).map(drop)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn stop(&self) {
        self.wake.raise();
    }
}
