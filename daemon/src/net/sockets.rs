//! The real sockets: UDP through `quinn-udp` (several datagrams per system call, destination address, ECN), raw IP for
//! protocol 50.
//!
//! What the socket interface does not give, and what we do about it:
//! - Outer DF: a socket has one setting for all its datagrams, so RFC 4301 §8.1 (copy, set or clear per packet) comes
//!   down to *clear*: the kernel may fragment, both ESP and an IKE message whose peer knows no RFC 7383. The MTU of the
//!   TUN keeps ESP below the usual path MTU.
//! - Outer DSCP: `quinn-udp` sets the two ECN bits of each batch, and zeroes the six above. Inner DSCP is not copied
//!   out, which RFC 4301 §5.1.2 allows (mapping to zero).
//! - Outer TTL is the system's default.
//! - Of datagrams that the kernel coalesced on receipt (GRO) the ECN bits may be missing; they count as Not-ECT, which
//!   leaves the inner ones as they are (RFC 6040 §4.2).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use nix::libc;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::wake::{self, Wake};
use super::{Buffers, Channel, Net, Outgoing, PathMtus, Received};

/// IP protocol number of ESP.
const ESP: i32 = 50;
/// How long a sender waits for room in a socket before the packet is dropped, milliseconds.
const PATIENCE: u8 = 50;
/// Requested size of socket buffers, octets; the system may grant less.
const SOCKET_BUFFER: usize = 4 << 20;

/// What to bind.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Outer addresses; unspecified ones stand for all of their family.
    pub addresses: Vec<IpAddr>,
    /// UDP port of IKE.
    pub ike_port: u16,
    /// UDP port of NAT traversal.
    pub nat_port: u16,
    /// Whether to open protocol 50.
    pub raw_esp: bool,
    /// SO_MARK of everything sent, which keeps it out of the tunnel; 0 sets none.
    pub fwmark: u32,
}

/// All sockets of a gateway.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<OuterSocket>,
    path_mtus: PathMtus,
    wake: Wake,
}

#[derive(Debug)]
struct OuterSocket {
    socket: Socket,
    state: UdpSocketState,
    channel: Channel,
    bound: SocketAddr,
}

impl Sockets {
    /// Opens and binds everything in `listen`. An unspecified IPv6 address is skipped where the system has no IPv6.
    ///
    /// # Errors
    /// Naming the address and port: taken, not ours, or not permitted.
    pub fn bind(listen: &Listen) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for &address in &listen.addresses {
            let mut channels = vec![(Channel::Ike, listen.ike_port), (Channel::NatT, listen.nat_port)];
            if listen.raw_esp {
                channels.push((Channel::RawEsp, 0));
            }
            for (channel, port) in channels {
                let bound = SocketAddr::new(address, port);
                match OuterSocket::bind(channel, bound, listen.fwmark) {
                    Ok(socket) => sockets.push(socket),
                    Err(error) if address.is_ipv6() && address.is_unspecified() && no_family(&error) => {
                        tracing::info!("no IPv6 on this system: not listening on {bound}");
                        break;
                    }
                    Err(error) => {
                        let what = if channel == Channel::RawEsp { "raw ESP, " } else { "UDP " };
                        let text = format!("{what}{bound}: {error}");
                        return Err(io::Error::new(error.kind(), text));
                    }
                }
            }
        }
        if sockets.len() > wake::MAX_WAIT {
            let text = format!("{} outer sockets, at most {} are possible", sockets.len(), wake::MAX_WAIT);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self { sockets, path_mtus: PathMtus::new(None), wake: Wake::new()? })
    }

    /// The socket to send from: bound to the very address, else to any of the family.
    fn sender(&self, channel: Channel, local: SocketAddr, remote: SocketAddr) -> Option<&OuterSocket> {
        let fits = |socket: &&OuterSocket| socket.channel == channel && socket.bound.is_ipv4() == remote.is_ipv4();
        self.sockets.iter().filter(fits).find(|socket| socket.bound.ip() == local.ip()).or_else(|| {
            let open = |socket: &&OuterSocket| socket.bound.ip().is_unspecified() || local.ip().is_unspecified();
            self.sockets.iter().filter(fits).find(open)
        })
    }
}

/// Whether the address family is unknown to the system or switched off.
fn no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

impl OuterSocket {
    fn bind(channel: Channel, bound: SocketAddr, fwmark: u32) -> io::Result<Self> {
        let domain = Domain::for_address(bound);
        let (kind, protocol) = match channel {
            Channel::RawEsp => (Type::RAW, Protocol::from(ESP)),
            Channel::Clear => (Type::RAW, Protocol::from(libc::IPPROTO_RAW)),
            Channel::Ike | Channel::NatT => (Type::DGRAM, Protocol::UDP),
        };
        let socket = Socket::new(domain, kind, Some(protocol))?;
        // A raw socket is of one family anyway, and refuses the option.
        if bound.is_ipv6() && channel != Channel::RawEsp {
            socket.set_only_v6(true)?;
        }
        if fwmark != 0 {
            socket.set_mark(fwmark)?;
        }
        socket.bind(&bound.into())?;
        // Best effort: the system's limits (net.core.[rw]mem_max) cut it.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        allow_fragments(&socket, bound.is_ipv6())?;
        Ok(Self { socket, state, channel, bound })
    }

    /// Reads what is there, at most one batch.
    fn receive(&self, buffers: &mut Buffers, each: &mut dyn FnMut(Received<'_>)) {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut chunks = buffers.each();
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        // Errors are ICMP messages about earlier datagrams, or nothing to read after all: the next poll tells.
        let Ok(count) = self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas) else { return };
        for (slice, meta) in slices.iter_mut().zip(&metas).take(count) {
            let len = meta.len.min(slice.len());
            let Some(bytes) = slice.get_mut(..len) else { continue };
            let ip = meta.dst_ip.unwrap_or(self.bound.ip());
            let local = SocketAddr::new(ip, self.bound.port());
            let traffic_class = meta.ecn.map_or(0, |ecn| ecn as u8);
            if self.channel == Channel::RawEsp {
                let remote = SocketAddr::new(meta.addr.ip(), 0);
                let Some(bytes) = raw_payload(bytes, self.bound.is_ipv4()) else { continue };
                each(Received { bytes, channel: self.channel, local, remote, traffic_class });
                continue;
            }
            for bytes in bytes.chunks_mut(meta.stride.max(1)) {
                each(Received { bytes, channel: self.channel, local, remote: meta.addr, traffic_class });
            }
        }
    }

    fn send(&self, outgoing: &Outgoing<'_>, contents: &[u8], segment: Option<usize>) -> io::Result<()> {
        let source = outgoing.local.ip();
        let mut destination = outgoing.remote;
        if self.channel == Channel::RawEsp {
            destination.set_port(0);
        }
        let transmit = Transmit {
            destination,
            ecn: EcnCodepoint::from_bits(outgoing.traffic_class & 3),
            contents,
            segment_size: segment,
            src_ip: (!source.is_unspecified()).then_some(source),
        };
        match self.state.try_send(UdpSockRef::from(&self.socket), &transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wake::wait_writable(self.socket.as_fd(), PATIENCE);
                self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
            }
            // A pending ICMP error about an earlier datagram comes out once, in place of sending this one.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
            }
            result => result,
        }
    }
}

/// A raw IPv4 socket delivers the IP header too, a raw IPv6 socket does not.
fn raw_payload(packet: &mut [u8], v4: bool) -> Option<&mut [u8]> {
    if !v4 {
        return Some(packet);
    }
    let header = usize::from(*packet.first()? & 0x0f) * 4;
    packet.get_mut(header..)
}

/// Undoes the DF that `quinn-udp` sets: see the head of this file.
fn allow_fragments(socket: &Socket, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)
    }
}

fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads `len` octets of `value`.
    let result = unsafe {
        libc::setsockopt(SockRef::from(socket).as_raw_fd(), level, name, std::ptr::from_ref(&value).cast(), len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Net for Sockets {
    fn receive(&self, buffers: &mut Buffers, each: &mut dyn FnMut(Received<'_>)) -> io::Result<bool> {
        let Some(ready) = wake::wait(&self.wake, self.sockets.iter().map(|socket| socket.socket.as_fd()))? else {
            return Ok(false);
        };
        for (bit, socket) in self.sockets.iter().enumerate() {
            if ready >> bit & 1 == 1 {
                socket.receive(buffers, each);
            }
        }
        Ok(true)
    }

    fn send(&self, outgoing: &Outgoing<'_>) -> io::Result<()> {
        let Some(socket) = self.sender(outgoing.channel, outgoing.local, outgoing.remote) else {
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no socket for this source address"));
        };
        if outgoing.contents.len() <= outgoing.segment {
            return socket.send(outgoing, outgoing.contents, None);
        }
        if socket.state.max_gso_segments() > 1
            && socket.send(outgoing, outgoing.contents, Some(outgoing.segment)).is_ok()
        {
            return Ok(());
        }
        // The device cannot segment, or the datagrams exceed its MTU: one by one, fragmented where need be.
        let mut result = Ok(());
        for contents in outgoing.contents.chunks(outgoing.segment.max(1)) {
            result = result.and(socket.send(outgoing, contents, None));
        }
        result
    }

    fn path_mtus(&self) -> &PathMtus {
        &self.path_mtus
    }

    fn max_segments(&self, channel: Channel) -> usize {
        let of = |socket: &OuterSocket| socket.state.max_gso_segments();
        self.sockets.iter().filter(|socket| socket.channel == channel).map(of).min().unwrap_or(1)
    }

    fn stop(&self) {
        self.wake.raise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports chosen by the system: 0 for both.
    fn loopback(address: IpAddr) -> Sockets {
        let listen = Listen { addresses: vec![address], ike_port: 0, nat_port: 0, raw_esp: false, fwmark: 0 };
        Sockets::bind(&listen).expect("loopback")
    }

    fn address(sockets: &Sockets, channel: Channel) -> SocketAddr {
        let socket = sockets.sockets.iter().find(|socket| socket.channel == channel).expect("bound");
        socket.socket.local_addr().expect("bound").as_socket().expect("an IP socket")
    }

    fn travels(ip: IpAddr) {
        let (a, b) = (loopback(ip), loopback(ip));
        let (from, to) = (address(&a, Channel::NatT), address(&b, Channel::NatT));
        let contents = b"aaaabbbbcc";
        let out = Outgoing {
            contents,
            segment: 4,
            channel: Channel::NatT,
            local: from,
            remote: to,
            traffic_class: 1,
            df: false,
        };
        a.send(&out).expect("loopback sends");
        let mut seen = Vec::new();
        let mut buffers = Buffers::new();
        while seen.len() < 3 {
            let more = b.receive(&mut buffers, &mut |got| {
                assert_eq!((got.channel, got.remote, got.local.ip()), (Channel::NatT, from, ip));
                seen.push(got.bytes.to_vec());
            });
            assert!(more.expect("sockets are usable"));
        }
        assert_eq!(seen, [b"aaaa".to_vec(), b"bbbb".to_vec(), b"cc".to_vec()]);
        b.stop();
        assert!(!b.receive(&mut buffers, &mut |_| ()).expect("sockets are usable"));
    }

    #[test]
    fn segments_travel_over_v4_with_their_addresses() {
        travels([127, 0, 0, 1].into());
    }

    #[test]
    fn large_datagrams_are_fragmented_not_refused() {
        let (a, b) = (loopback([127, 0, 0, 1].into()), loopback([127, 0, 0, 1].into()));
        let (from, to) = (address(&a, Channel::Ike), address(&b, Channel::Ike));
        let contents = vec![7; 60_000];
        let out = Outgoing {
            contents: &contents,
            segment: 60_000,
            channel: Channel::Ike,
            local: from,
            remote: to,
            traffic_class: 0,
            df: false,
        };
        a.send(&out).expect("loopback sends");
        let mut len = 0;
        b.receive(&mut Buffers::new(), &mut |got| len = got.bytes.len()).expect("sockets are usable");
        assert_eq!(len, 60_000);
    }

    #[test]
    fn a_raw_v4_packet_loses_its_ip_header() {
        let mut packet = [0x46; 30];
        assert_eq!(raw_payload(&mut packet, true).map(|esp| esp.len()), Some(6));
        assert_eq!(raw_payload(&mut [0x4f; 20], true).map(|esp| esp.len()), None);
        assert_eq!(raw_payload(&mut [1; 20], false).map(|esp| esp.len()), Some(20));
    }
}
