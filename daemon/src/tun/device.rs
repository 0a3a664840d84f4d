//! The kernel's TUN device, through the `tun` crate. It is not persistent: it goes with the process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute};

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
    /// the outer packets too: inner size plus ESP, UDP and IP headers. Inside a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, without access to /dev/net/tun, or when the name is taken.
    pub async fn create(name: &str, mtu: u16) -> io::Result<Self> {
        let mut config = tun::Configuration::default();
        config.tun_name(name).mtu(mtu);
        let device = tun::create(&config).map_err(io::Error::other)?;
        device.set_nonblock()?;
        bring_up(name).await?;
        Ok(Self { device, name: name.to_owned(), wake: Wake::new()? })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to `self.device`, which the returned borrow keeps alive.
        unsafe { BorrowedFd::borrow_raw(self.device.as_raw_fd()) }
    }
}

/// Without a link-local address first: there is no link behind it, and the kernel would look for routers there.
async fn bring_up(name: &str) -> io::Result<()> {
    let (connection, netlink, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let none = vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)])];
    let quiet = LinkUnspec::new_with_name(name).append_extra_attribute(LinkAttribute::AfSpecUnspec(none));
    if let Err(error) = netlink.link().set(quiet.build()).execute().await {
        // Without IPv6 there is nothing to be kept quiet.
        tracing::debug!("{name} may get a link-local address: {error}");
    }
    let result = netlink.link().set(LinkUnspec::new_with_name(name).up().build()).execute().await;
    connection.abort();
    result.map_err(io::Error::other)
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
