//! Whole IP packets in the clear, as they are: what a policy lets pass although it was routed into the tunnel.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

use super::control::Control;
use super::outer::option;
use super::{PATIENCE, SOCKET_BUFFER, message};
use crate::net::wake;

/// One raw socket per family; a family may be missing for want of CAP_NET_RAW or of IPv6.
#[derive(Debug)]
pub(super) struct Clear {
    v4: io::Result<Socket>,
    v6: io::Result<Socket>,
}

impl Clear {
    /// Opens what can be opened. What can't is reported by [`send`](Self::send): most gateways never need it.
    pub(super) fn open(fwmark: u32) -> Self {
        Self { v4: open(true, fwmark), v6: open(false, fwmark) }
    }

    /// Sends one IP packet from whatever source it names. Its DF bit, TTL and traffic class stay; an IPv4 header gets
    /// its checksum, and an identification if that is zero. The kernel does not fragment it.
    ///
    /// # Errors
    /// `InvalidData` if it is no IP packet; `EMSGSIZE` if it is larger than its link takes; and as the network says.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        let (source, destination) = addresses(packet).ok_or(io::ErrorKind::InvalidData)?;
        let socket = match if destination.is_ipv4() { &self.v4 } else { &self.v6 } {
            Ok(socket) => socket,
            Err(error) => {
                let text = format!("no raw socket for traffic in the clear (CAP_NET_RAW): {error}");
                return Err(io::Error::new(error.kind(), text));
            }
        };
        // The source again, for routing rules that look at it.
        let mut control = Control::EMPTY;
        control.source(source);
        let attempt =
            || message::send(socket.as_fd(), &[IoSlice::new(packet)], SocketAddr::new(destination, 0), &control);
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wake::wait_writable(socket.as_fd(), PATIENCE);
                attempt()
            }
            result => result,
        }
    }
}

fn open(v4: bool, fwmark: u32) -> io::Result<Socket> {
    let domain = if v4 { Domain::IPV4 } else { Domain::IPV6 };
    // This protocol number means that the IP header is ours, and that nothing is received.
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    socket.set_nonblocking(true)?;
    if fwmark != 0 {
        socket.set_mark(fwmark)?;
    }
    if !v4 {
        // Forwarded packets have a source that is not ours, which over IPv4 needs no word.
        option(&socket, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1)?;
    }
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    Ok(socket)
}

/// Source and destination of an IP packet.
fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let at = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?).into());
            Some((at(12)?, at(16)?))
        }
        6 => {
            let at = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?).into());
            Some((at(8)?, at(24)?))
        }
        _ => None,
    }
}
