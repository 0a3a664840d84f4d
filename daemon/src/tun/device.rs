//! The kernel's TUN device, through the `tun` crate. It is not persistent: it goes with the process.
//!
//! Offloads: with `IFF_VNET_HDR`, a [`Head`] stands before each packet in both directions. The kernel leaves TCP and UDP
//! uncut to us only after it was told that we take them (`TUNSETOFFLOAD`); kernels before 6.2 do not know of UDP.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::uio;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute};

use super::{Frame, Tun, Wait};
use crate::net::MAX_TOGETHER;
use crate::net::wake::{self, Ready, Wake};
use crate::offload::{Head, MAX_GROUP, Offloads};

/// What we take uncut (`linux/if_tun.h`): packets without checksum; TCP segments of either family, with ECN too; UDP
/// datagrams of either family.
mod takes {
    pub(super) const CHECKSUM: u64 = 0x01;
    pub(super) const TCP: u64 = 0x02 | 0x04 | 0x08;
    pub(super) const UDP: u64 = 0x20 | 0x40;
}

/// What ESP adds to a packet, about, octets.
const ESP: usize = 40;

nix::ioctl_write_int!(tun_set_offload, b'T', 208);

/// A TUN interface that carries bare IP packets.
pub struct TunDevice {
    device: tun::Device,
    name: String,
    /// Whether a [`Head`] stands before each packet.
    heads: bool,
    offloads: Offloads,
    wake: Wake,
}

impl TunDevice {
    /// Creates interface `name` and brings it up, with those of `wanted` that the kernel has. Packets the kernel hands
    /// over, once cut, are at most `mtu` octets, which bounds the outer packets too: inner size plus ESP, UDP and IP
    /// headers. Inside a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, without access to /dev/net/tun, or when the name is taken.
    pub async fn create(name: &str, mtu: u16, wanted: Offloads) -> io::Result<Self> {
        let heads = wanted != Offloads::default();
        let mut config = tun::Configuration::default();
        config.tun_name(name).mtu(mtu);
        config.platform_config(|platform| {
            platform.vnet_hdr(heads);
        });
        let device = tun::create(&config).map_err(io::Error::other)?;
        device.set_nonblock()?;
        let mut created =
            Self { device, name: name.to_owned(), heads, offloads: Offloads::default(), wake: Wake::new()? };
        created.offloads = created.switch_on(wanted);
        bring_up(name, mtu).await?;
        Ok(created)
    }

    /// Tells the kernel what we take uncut: as much of `wanted` as it knows.
    fn switch_on(&self, wanted: Offloads) -> Offloads {
        let tcp_only = Offloads { udp: false, ..wanted };
        let known = |offloads: &Offloads| self.tell(*offloads).is_ok();
        [wanted, tcp_only].into_iter().filter(|_| self.heads).find(known).unwrap_or_default()
    }

    fn tell(&self, offloads: Offloads) -> io::Result<()> {
        let tcp = if offloads.tcp { takes::TCP } else { 0 };
        let udp = if offloads.udp { takes::UDP } else { 0 };
        // SAFETY: the descriptor is open, and the kernel takes the argument as a number.
        unsafe { tun_set_offload(self.device.as_raw_fd(), (takes::CHECKSUM | tcp | udp) as _) }?;
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to `self.device`, which the returned borrow keeps alive.
        unsafe { BorrowedFd::borrow_raw(self.device.as_raw_fd()) }
    }
}

/// Without a link-local address first: there is no link behind it, and the kernel would look for routers there.
///
/// Frames are as long as they can leave in one piece after sealing; the rest would leave by itself.
async fn bring_up(name: &str, mtu: u16) -> io::Result<()> {
    let (connection, netlink, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let none = vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)])];
    let quiet = LinkUnspec::new_with_name(name).append_extra_attribute(LinkAttribute::AfSpecUnspec(none));
    if let Err(error) = netlink.link().set(quiet.build()).execute().await {
        // Without IPv6 there is nothing to be kept quiet.
        tracing::debug!("{name} may get a link-local address: {error}");
    }
    let segments = (MAX_TOGETHER / (usize::from(mtu) + ESP)).max(1) as u32;
    let limited = LinkUnspec::new_with_name(name).append_extra_attribute(LinkAttribute::GsoMaxSegs(segments));
    if let Err(error) = netlink.link().set(limited.build()).execute().await {
        // Only slower.
        tracing::debug!("{name} may send frames of more than {segments} packets: {error}");
    }
    let result = netlink.link().set(LinkUnspec::new_with_name(name).up().build()).execute().await;
    connection.abort();
    result.map_err(io::Error::other)
}

impl std::fmt::Debug for TunDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunDevice").field("name", &self.name).field("offloads", &self.offloads).finish_non_exhaustive()
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

    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<Frame>> {
        let mut head = [0; Head::LEN];
        loop {
            let heads = if self.heads { &mut head[..] } else { &mut [] };
            let before = heads.len();
            match uio::readv(self.fd(), &mut [IoSliceMut::new(heads), IoSliceMut::new(buffer)]) {
                Ok(len) => {
                    let frame = len.checked_sub(before).zip(Head::decode(&head));
                    // Of a kind that we did not ask for: the next one.
                    let Some((len, head)) = frame else { continue };
                    return Ok(Some(Frame { len, head }));
                }
                Err(nix::errno::Errno::EAGAIN) => return Ok(None),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn write(&self, packet: &[u8]) -> io::Result<()> {
        self.write_frame(&Head::default(), &[IoSlice::new(packet)])
    }

    fn write_frame(&self, head: &Head, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let head = head.encode();
        let mut all = [IoSlice::new(&[]); MAX_GROUP + 3];
        let used = pieces.len() + 1;
        let (Some(first), true) = (all.first_mut(), used <= MAX_GROUP + 3) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if self.heads {
            *first = IoSlice::new(&head);
        }
        for (slot, piece) in all.iter_mut().skip(1).zip(pieces) {
            *slot = *piece;
        }
        uio::writev(self.fd(), all.get(..used).unwrap_or_default()).map(drop).map_err(io::Error::from)
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn stop(&self) {
        self.wake.raise();
    }
}
