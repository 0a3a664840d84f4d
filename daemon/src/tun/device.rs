//! The kernel's TUN device, through the `tun` crate. It is not persistent: it goes with the process.
//!
//! Offloads: with `IFF_VNET_HDR`, a [`Head`] stands before each packet in both directions. The kernel leaves TCP and UDP
//! uncut to us only after it was told that we take them (`TUNSETOFFLOAD`); kernels before 6.2 do not know of UDP.
//!
//! Queues: see `queue`.

use std::io::{self, IoSlice};
use std::iter;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::uio;
use nix::unistd;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute};
use tun::AbstractDevice;

use super::queue::Queues;
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

/// Frames that may wait for us in each queue, as in an Ethernet device: twice as many as a TUN device has by itself. A
/// burst of small packets is longer than what one look takes.
const WAITING: u32 = 1000;

/// What ESP adds to a packet, about, octets.
const ESP: usize = 40;

nix::ioctl_write_int!(tun_set_offload, b'T', 208);

/// A TUN interface that carries bare IP packets.
pub struct TunDevice {
    queues: Queues,
    name: String,
    /// Whether a [`Head`] stands before each packet.
    heads: bool,
    offloads: Offloads,
    wake: Wake,
}

impl TunDevice {
    /// Creates interface `name` and brings it up, with those of `wanted` that the kernel has. Packets the kernel hands
    /// over, once cut, are at most `mtu` octets, which bounds the outer packets too: inner size plus ESP, UDP and IP
    /// headers. There are `queues` to read from. Inside a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, without access to /dev/net/tun, or when the name is taken.
    pub async fn create(name: &str, mtu: u16, queues: usize, wanted: Offloads) -> io::Result<Self> {
        let heads = wanted != Offloads::default();
        let mut queues = Queues::open(name, queues, heads)?;
        queues.first_mut().set_mtu(mtu).map_err(io::Error::other)?;
        let (name, offloads) = (name.to_owned(), Offloads::default());
        let mut created = Self { queues, name, heads, offloads, wake: Wake::new()? };
        created.offloads = created.switch_on(wanted);
        bring_up(&created.name, mtu).await?;
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
        unsafe { tun_set_offload(self.queues.first().as_raw_fd(), (takes::CHECKSUM | tcp | udp) as _) }?;
        Ok(())
    }

    /// # Errors
    /// Without such a queue.
    fn reader(&self, queue: usize) -> io::Result<BorrowedFd<'_>> {
        self.queues.reader(queue).map(fd).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn fd(queue: &tun::Device) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `queue`, which the returned borrow keeps alive.
    unsafe { BorrowedFd::borrow_raw(queue.as_raw_fd()) }
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
    let longer = LinkUnspec::new_with_name(name).append_extra_attribute(LinkAttribute::TxQueueLen(WAITING));
    if let Err(error) = netlink.link().set(longer.build()).execute().await {
        tracing::debug!("{name} has queues as long as usual: {error}");
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
    fn queues(&self) -> usize {
        self.queues.count()
    }

    fn wait(&self, queue: usize, patience: Option<Duration>) -> io::Result<Wait> {
        Ok(match wake::wait_within(&self.wake, iter::once(self.reader(queue)?), patience)? {
            None => Wait::Stopped,
            Some(Ready { readable: 0, failed: 0 }) => Wait::Idle,
            Some(_) => Wait::Ready,
        })
    }

    fn read(&self, queue: usize, buffer: &mut [u8]) -> io::Result<Option<Frame>> {
        let fd = self.reader(queue)?;
        loop {
            match unistd::read(fd, buffer) {
                Ok(len) if !self.heads => return Ok(Some(Frame { at: 0..len, head: Head::default() })),
                Ok(len) => {
                    let head = buffer.get(..len).and_then(<[u8]>::first_chunk).and_then(Head::decode);
                    // Of a kind that we did not ask for: the next one.
                    let Some(head) = head else { continue };
                    return Ok(Some(Frame { at: Head::LEN..len, head }));
                }
                Err(nix::errno::Errno::EAGAIN) => return Ok(None),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn write(&self, queue: usize, packet: &[u8]) -> io::Result<()> {
        self.write_frame(queue, &Head::default(), &[IoSlice::new(packet)])
    }

    fn write_frame(&self, queue: usize, head: &Head, pieces: &[IoSlice<'_>]) -> io::Result<()> {
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
        uio::writev(fd(self.queues.writer(queue)), all.get(..used).unwrap_or_default())
            .map(drop)
            .map_err(io::Error::from)
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
