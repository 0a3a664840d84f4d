//! The two ends of the inner networks: frames go in as a host hands them to its network card, with what the card is to
//! do (`struct virtio_net_hdr`, packet(7)), and packets come out.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket, sockopt,
};

use super::packet;
use crate::failure::{Context, Result};

/// Of the link at which a gateway meets its inner network: the gateway's address and ours.
pub(super) const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const HOST: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Octets of arrivals that may wait for us.
const BUFFER: usize = 64 << 20;
/// Longer than any packet that may arrive.
const LONGEST: usize = 70_000;

/// What the card is to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Nothing.
    Nothing,
    /// To complete the checksum `place` octets behind `start`, counted from the IP header on.
    Checksum { start: usize, place: usize },
    /// To cut it into segments with so many octets of payload, too.
    Segments { kind: Kind, headers: usize, size: usize, start: usize, place: usize },
}

/// What is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp4 = 1,
    Tcp6 = 4,
    Udp = 5,
}

impl Task {
    /// `struct virtio_net_hdr` before an Ethernet frame.
    fn head(self) -> [u8; 10] {
        const ETHERNET: usize = 14;
        let (kind, headers, size, start, place) = match self {
            Self::Nothing => return [0; 10],
            Self::Checksum { start, place } => (0, 0, 0, start, place),
            Self::Segments { kind, headers, size, start, place } => {
                (kind as u8, ETHERNET + headers, size, start, place)
            }
        };
        let mut head = [1, kind, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, number) in [(2, headers), (4, size), (6, ETHERNET + start), (8, place)] {
            head[at..at + 2].copy_from_slice(&(number as u16).to_ne_bytes());
        }
        head
    }
}

/// Both ends, of a namespace that holds the links `left` and `right`.
#[derive(Debug)]
pub(super) struct Ends {
    left: OwnedFd,
    right: OwnedFd,
    buffer: Vec<u8>,
}

impl Ends {
    /// Opens them; on a thread of the namespace.
    pub(super) fn open() -> Result<Self> {
        let left = on("left", None)?;
        take_heads(&left)?;
        let right = on("right", Some(SockProtocol::EthAll))?;
        setsockopt(&right, sockopt::RcvBufForce, &BUFFER).context("buffer")?;
        Ok(Self { left, right, buffer: vec![0; LONGEST] })
    }

    /// Sends an IP packet, or several in a frame, to the left gateway.
    pub(super) fn send(&self, task: Task, ip: &[u8]) -> Result<()> {
        let kind: [u8; 2] = if ip[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let frame = [&task.head()[..], &GATEWAY, &HOST, &kind, ip].concat();
        send(self.left.as_raw_fd(), &frame, MsgFlags::empty()).context(format!("{task:?}, {} octets", ip.len()))?;
        Ok(())
    }

    /// An IP packet that the right gateway forwarded, if one comes within `patience`.
    pub(super) fn receive(&mut self, patience: Duration) -> Result<Option<&[u8]>> {
        loop {
            let timeout = PollTimeout::try_from(patience).context("patience")?;
            let mut polled = [PollFd::new(self.right.as_fd(), PollFlags::POLLIN)];
            if poll(&mut polled, timeout).context("poll")? == 0 {
                return Ok(None);
            }
            let len = recv(self.right.as_raw_fd(), &mut self.buffer, MsgFlags::empty()).context("receive")?;
            // Not what the gateway itself has to say on the link.
            let (ethernet, ip) = self.buffer[..len].split_at(14.min(len));
            if ethernet.get(6..12) == Some(&GATEWAY) && packet::is_from_left(ip) {
                return Ok(Some(&self.buffer[14..len]));
            }
        }
    }
}

/// A packet socket on `link`.
fn on(link: &str, protocol: Option<SockProtocol>) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).context("socket")?;
    let mut all = getifaddrs().context("links")?.filter(|known| known.interface_name == link);
    let address = all.find_map(|known| known.address?.as_link_addr().copied()).context(format!("no link {link}"))?;
    bind(socket.as_raw_fd(), &address).context(link)?;
    Ok(socket)
}

/// From now on frames for `socket` have heads.
fn take_heads(socket: &OwnedFd) -> Result<()> {
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the kernel reads `len` octets of `on`, which is as long.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_VNET_HDR, (&raw const on).cast(), len)
    };
    Errno::result(set).map(drop).context("frames with heads")
}

/// A capture file of IP packets (LINKTYPE_RAW).
#[derive(Debug)]
pub(super) struct PacketFile(BufWriter<File>);

impl PacketFile {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let mut file = BufWriter::new(File::create(path).context(path.display())?);
        let words: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, LONGEST as u32, 101];
        file.write_all(&words.map(u32::to_le_bytes).concat()).context("capture file")?;
        Ok(Self(file))
    }

    pub(super) fn add(&mut self, packet: &[u8]) -> Result<()> {
        let len = packet.len() as u32;
        self.0.write_all(&[0, 0, len, len].map(u32::to_le_bytes).concat()).context("capture file")?;
        self.0.write_all(packet).context("capture file")
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.0.flush().context("capture file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_count_from_the_ethernet_header() {
        assert_eq!(Task::Nothing.head(), [0; 10]);
        let task = Task::Segments { kind: Kind::Tcp4, headers: 40, size: 1000, start: 20, place: 16 };
        let word = |n: u16| n.to_ne_bytes();
        assert_eq!(task.head()[..], [&[1, 1][..], &word(54), &word(1000), &word(34), &word(16)].concat()[..]);
    }
}
