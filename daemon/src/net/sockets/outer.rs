//! One socket of the outer network: UDP or protocol 50, at one address, with or without DF.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::control::{Control, IcmpError};
use super::message::{self, Message};
use super::{Faults, PATIENCE, SOCKET_BUFFER};
use crate::net::{Buffers, Channel, Outgoing, PathMtus, Received, Unsent, steering, wake};
use crate::offload::Offload;

/// IP protocol number of ESP.
const ESP: i32 = 50;
/// A filter that lets nothing in: BPF_RET | BPF_K, 0 octets.
const NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// See the head of this file.
#[derive(Debug)]
pub(super) struct OuterSocket {
    socket: Socket,
    pub(super) channel: Channel,
    /// Address and port it is bound to; the port of a raw socket is 0.
    pub(super) bound: SocketAddr,
    /// What it sends from unless it is told: as a rule the address it is bound to.
    source: IpAddr,
    /// Whether what it sends says so: don't fragment.
    pub(super) df: bool,
    /// Which thread reads it.
    pub(super) queue: usize,
    /// Whether it takes several datagrams in one system call.
    segments: AtomicBool,
    /// Whether it gives several datagrams in one piece.
    coalesces: bool,
}

impl OuterSocket {
    /// Binds a socket that may fragment, at an address and port that nobody else has.
    pub(super) fn bind(channel: Channel, bound: SocketAddr, fwmark: u32) -> io::Result<Self> {
        let socket = open(channel, bound, fwmark)?;
        socket.bind(&bound.into())?;
        // Port 0 is what the system makes of it; a raw socket has none.
        let named = socket.local_addr()?.as_socket().filter(|_| channel != Channel::RawEsp);
        Self::new(socket, channel, named.unwrap_or(bound), false, 0)
    }

    /// A socket beside this one: for another receive queue, or for sending with DF. It is bound to the same port, which
    /// this one must [`share`](Self::share). Which of them gets what arrives, [`steer`](Self::steer) says; all are read,
    /// and hear of errors; of raw sockets, the first does.
    pub(super) fn beside(&self, queue: usize, df: bool, fwmark: u32) -> io::Result<Self> {
        let socket = open(self.channel, self.bound, fwmark)?;
        let (bound, mut source) = (self.bound.into(), self.bound.ip());
        match self.channel {
            // Every raw socket gets a copy of what arrives: one without a queue throws it away at once.
            Channel::RawEsp => {
                socket.attach_filter(&[NOTHING])?;
                socket.bind(&bound)?;
                if df {
                    source = deafen(&socket, source);
                }
            }
            Channel::Ike | Channel::NatT | Channel::Clear => {
                socket.set_reuse_port(true)?;
                socket.bind(&bound)?;
            }
        }
        Ok(Self { source, ..Self::new(socket, self.channel, self.bound, df, queue)? })
    }

    /// Lets others bind to its port that do so on purpose, and have the same user: the kernel needs it for the group to
    /// be one. One that joins the group gets nothing, since [`steer`](Self::steer) does not name it; one that connects
    /// to a peer from there gets what that peer sends. Programs of the same user can do worse.
    pub(super) fn share(&self) -> io::Result<()> {
        if self.channel == Channel::RawEsp { Ok(()) } else { self.socket.set_reuse_port(true) }
    }

    /// Tells the kernel what this socket receives, one of `sockets` for `queues` queues, and perhaps others: the rule of
    /// [`steering`].
    pub(super) fn steer(&self, queue: usize, queues: usize, sockets: usize) -> io::Result<()> {
        let [queue, queues, sockets] = [queue, queues, sockets].map(|n| u32::try_from(n).unwrap_or(1));
        match self.channel {
            Channel::RawEsp => {
                self.socket.attach_filter(&steering::admit(self.bound.is_ipv4(), queue, queues, sockets))
            }
            // Their positions in the group are the order in which they were bound; the program is that of the group.
            _ if queue == 0 => choose(&self.socket, &steering::choose(queues)),
            _ => Ok(()),
        }
    }

    fn new(socket: Socket, channel: Channel, bound: SocketAddr, df: bool, queue: usize) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // Best effort: without CAP_NET_ADMIN the system's limits (net.core.[rw]mem_max) cut it, by default to what a
        // few large pieces take.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER));
        let _ = setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &SOCKET_BUFFER));
        let errors = match channel {
            // Each raw socket that could receive the answer is told: once is enough.
            Channel::RawEsp => queue == 0 && !df,
            Channel::Ike | Channel::Clear => false,
            Channel::NatT => true,
        };
        // A raw IPv4 socket gives the IP header, which says the rest.
        let facts = channel != Channel::RawEsp || bound.is_ipv6();
        ask(&socket, bound.is_ipv6(), df, facts, errors)?;
        let source = bound.ip();
        Ok(Self { socket, channel, bound, source, df, queue, segments: AtomicBool::new(false), coalesces: false })
    }

    /// Whether what arrives is given to it.
    #[cfg(test)]
    pub(super) fn hears(&self) -> bool {
        self.socket.peer_addr().is_err()
    }

    /// Uses those of `offloads` that the kernel has: old ones don't, and there are single datagrams then.
    pub(super) fn switch_on(&mut self, offloads: &[Offload]) {
        let udp = matches!(self.channel, Channel::Ike | Channel::NatT);
        let has = |offload, name, value| {
            udp && offloads.contains(&offload) && option(&self.socket, libc::SOL_UDP, name, value).is_ok()
        };
        self.segments = AtomicBool::new(has(Offload::UdpSend, libc::UDP_SEGMENT, 0));
        self.coalesces = has(Offload::UdpReceive, libc::UDP_GRO, 1);
    }

    /// What is left to the kernel at this moment.
    pub(super) fn offloads(&self) -> impl Iterator<Item = Offload> {
        let sends = self.segments.load(Ordering::Relaxed);
        let known = [(sends, Offload::UdpSend), (self.coalesces, Offload::UdpReceive)];
        known.into_iter().filter_map(|(on, offload)| on.then_some(offload))
    }

    /// Whether it takes several datagrams in one piece.
    pub(super) fn cuts(&self) -> bool {
        self.segments.load(Ordering::Relaxed)
    }

    /// Reads what is there, at most one batch.
    ///
    /// # Errors
    /// When the socket is unusable.
    pub(super) fn receive(
        &self,
        buffers: &mut Buffers,
        faults: &Faults,
        each: &mut dyn FnMut(Received<'_>),
    ) -> io::Result<()> {
        let (v4, mut octets) = (self.bound.is_ipv4(), 0);
        let deliver = |message: Message<'_>| {
            let Message { bytes, name, facts, truncated } = message;
            octets += bytes.len();
            let Some(remote) = name.filter(|_| !truncated) else {
                faults.truncated.fetch_add(1, Ordering::Relaxed);
                return;
            };
            let channel = self.channel;
            let local = SocketAddr::new(facts.local.unwrap_or(self.bound.ip()), self.bound.port());
            let traffic_class = facts.traffic_class.unwrap_or(0);
            if channel == Channel::RawEsp {
                let remote = SocketAddr::new(remote.ip(), 0);
                if !v4 {
                    each(Received { bytes, channel, local, remote, traffic_class, first: true });
                } else if let Some((destination, traffic_class, bytes)) = raw_v4(bytes) {
                    let local = SocketAddr::new(destination.into(), 0);
                    each(Received { bytes, channel, local, remote, traffic_class, first: true });
                }
                return;
            }
            let segment = facts.segment.unwrap_or(bytes.len()).max(1);
            for (n, bytes) in bytes.chunks_mut(segment).enumerate() {
                each(Received { bytes, channel, local, remote, traffic_class, first: n == 0 });
            }
        };
        let result = message::receive(self.socket.as_fd(), 0, buffers.each(), deliver);
        buffers.filled(octets);
        match result {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::EBADF | libc::ENOTSOCK | libc::EINVAL | libc::EFAULT) => Err(error),
                // An ICMP error about an earlier datagram, or a shortage that passes.
                _ => {
                    faults.receive.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            },
        }
    }

    /// Takes the errors about datagrams that were sent, and passes on what they say about the path MTU if that is to
    /// be believed: ICMP comes outside of any SA here (RFC 4301 §6.1.1).
    pub(super) fn take_errors(&self, buffers: &mut Buffers, faults: &Faults, path_mtus: &PathMtus, believe: bool) {
        let learn = |message: Message<'_>| {
            let (Some(error), Some(destination)) = (message.facts.error, message.name) else { return };
            take_error(error, destination.ip(), faults, path_mtus, believe);
        };
        // What is left, the next poll tells.
        let _ = message::receive(self.socket.as_fd(), libc::MSG_ERRQUEUE, buffers.each(), learn);
    }

    /// Sends `contents`, in pieces: one datagram, or several of `segment` octets.
    pub(super) fn send(
        &self,
        outgoing: &Outgoing<'_>,
        contents: &[IoSlice<'_>],
        segment: Option<u16>,
    ) -> io::Result<()> {
        let (destination, mut control) = self.envelope(outgoing);
        if let Some(segment) = segment {
            control.segment(segment);
        }
        let attempt = || message::send(self.socket.as_fd(), contents, destination, &control);
        let result = attempt().or_else(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                wake::wait_writable(self.socket.as_fd(), PATIENCE);
            }
            // Else it may be about an earlier datagram: an ICMP error comes out once, in place of sending this one.
            attempt()
        });
        if segment.is_some() && result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EIO)) {
            // The device can't do it.
            self.segments.store(false, Ordering::Relaxed);
        }
        result
    }
}

impl OuterSocket {
    /// Sends each datagram by itself, as many as possible per system call. What is refused is left out; where there is no
    /// room, it waits once.
    ///
    /// # Errors
    /// The first there was, and all that were left out.
    pub(super) fn send_each(&self, outgoing: &Outgoing<'_>) -> Result<(), Unsent> {
        let (destination, control) = self.envelope(outgoing);
        let (mut at, mut waited, mut unsent) = (0, false, None::<Unsent>);
        while let Some(rest @ [first, ..]) = outgoing.datagrams.get(at..) {
            let error = match message::send_many(self.socket.as_fd(), rest, destination, &control) {
                Ok(sent) => {
                    at += sent.max(1);
                    continue;
                }
                Err(error) => error,
            };
            let lost = if error.kind() == io::ErrorKind::WouldBlock {
                if !std::mem::replace(&mut waited, true) {
                    wake::wait_writable(self.socket.as_fd(), PATIENCE);
                    continue;
                }
                rest.len()
            } else {
                // It may be about an earlier datagram: an ICMP error comes out once, in place of sending this one.
                let again = message::send(self.socket.as_fd(), std::slice::from_ref(first), destination, &control);
                usize::from(again.is_err())
            };
            let all = unsent.get_or_insert(Unsent { lost: 0, error });
            (at..at + lost).for_each(|n| all.lost |= 1_u64.checked_shl(n as u32).unwrap_or(0));
            at += lost.max(1);
        }
        unsent.filter(|unsent| unsent.lost != 0).map_or(Ok(()), Err)
    }

    /// Where to, and what the kernel is told beside: nothing that it does anyway, for reading it costs as much as
    /// finding the route, each time.
    pub(super) fn envelope(&self, outgoing: &Outgoing<'_>) -> (SocketAddr, Control) {
        let source = outgoing.local.ip();
        let mut destination = outgoing.remote;
        if self.channel == Channel::RawEsp {
            destination.set_port(0);
        }
        let mut control = Control::EMPTY;
        if outgoing.traffic_class != 0 {
            control.traffic_class(destination.is_ipv4(), outgoing.traffic_class);
        }
        let source = if source.is_unspecified() { self.bound.ip() } else { source };
        if source != self.source {
            control.source(source);
        }
        (destination, control)
    }
}

impl AsFd for OuterSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An error about a datagram to `peer`.
pub(super) fn take_error(error: IcmpError, peer: IpAddr, faults: &Faults, path_mtus: &PathMtus, believe: bool) {
    match (error.errno == libc::EMSGSIZE as u32, error.remote) {
        (true, true) if !believe => {
            faults.ignored.fetch_add(1, Ordering::Relaxed);
        }
        (true, true) => {
            faults.too_big.fetch_add(1, Ordering::Relaxed);
            path_mtus.too_big(peer, error.info, Instant::now());
        }
        (true, false) => path_mtus.look_up(),
        (false, _) => {
            faults.unreachable.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn open(channel: Channel, bound: SocketAddr, fwmark: u32) -> io::Result<Socket> {
    let (kind, protocol) = match channel {
        Channel::RawEsp => (Type::RAW, Protocol::from(ESP)),
        Channel::Clear => (Type::RAW, Protocol::from(libc::IPPROTO_RAW)),
        Channel::Ike | Channel::NatT => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(bound), kind, Some(protocol))?;
    // A raw socket is of one family anyway, and refuses the option.
    if bound.is_ipv6() && kind == Type::DGRAM {
        socket.set_only_v6(true)?;
    }
    if fwmark != 0 {
        socket.set_mark(fwmark)?;
    }
    Ok(socket)
}

/// Asks for what is told beside each datagram (`facts`), and for errors, and sets DF.
///
/// The path MTU is ours to know, not the kernel's, which believes any ICMP error: with DF only the link's MTU counts
/// (`PROBE`). Without, the kernel fragments for the link, and over IPv6, where no router does, for the path; over IPv4
/// it must be `OMIT`, since a socket with `DONT` hears of no error that its neighbour with DF causes.
fn ask(socket: &Socket, v6: bool, df: bool, facts: bool, errors: bool) -> io::Result<()> {
    if v6 {
        let discover = if df { libc::IPV6_PMTUDISC_PROBE } else { libc::IPV6_PMTUDISC_DONT };
        option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, discover)?;
        option(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, df.into())?;
        option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, facts.into())?;
        option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, facts.into())?;
        option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, errors.into())
    } else {
        let discover = if df { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_OMIT };
        option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, discover)?;
        option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, facts.into())?;
        option(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, facts.into())?;
        option(socket, libc::IPPROTO_IP, libc::IP_RECVERR, errors.into())
    }
}

/// Keeps from a raw socket, bound to `bound`, what arrives. Returns what it sends from as a rule, henceforth.
///
/// A filter looks at a copy of each packet. A socket that is connected to an address that nothing comes from is not even
/// given that. It can still send to others, but if it was bound to all addresses, it has a source now.
fn deafen(socket: &Socket, bound: IpAddr) -> IpAddr {
    let nobody: IpAddr = match bound {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        // There would be no way to say that any source will do, as there is over IPv4.
        IpAddr::V6(_) if bound.is_unspecified() => return bound,
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    // What a port is to other sockets, the protocol is to a raw one. Without a loopback device, the filter has to do.
    let connected = socket.connect(&SocketAddr::new(nobody, ESP as u16).into());
    let named = connected.and_then(|()| socket.local_addr());
    named.ok().and_then(|named| named.as_socket()).map_or(bound, |named| named.ip())
}

/// Lets `program` choose among the sockets of a group.
fn choose(socket: &Socket, program: &[SockFilter]) -> io::Result<()> {
    let len = program.len().try_into().map_err(io::Error::other)?;
    // `SockFilter` has the layout of `sock_filter`. The kernel only reads it, and keeps a copy.
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    Ok(setsockopt(socket, sockopt::AttachReusePortCbpf, &program)?)
}

/// Sets an option that `socket2` does not know.
pub(super) fn option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads `len` octets of `value`.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(&value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a raw IPv4 socket delivers begins with the IP header; a raw IPv6 socket keeps it. Gives the destination and
/// the TOS octet, and what follows the header.
pub(super) fn raw_v4(packet: &mut [u8]) -> Option<(Ipv4Addr, u8, &mut [u8])> {
    let header = usize::from(*packet.first()? & 0x0f) * 4;
    let traffic_class = *packet.get(1)?;
    let destination = Ipv4Addr::from(*packet.get(16..)?.first_chunk::<4>()?);
    Some((destination, traffic_class, packet.get_mut(header..)?))
}
