//! The real sockets: UDP and IP protocol 50, several datagrams per system call (GSO, GRO, `recvmmsg`), with
//! destination address and traffic class; and raw IP for what passes in the clear.
//!
//! - Outer DF: a socket has one setting for all its datagrams, so each address has two for ESP (`outer`): RFC 4301
//!   §8.1 wants DF copied, set or cleared per packet.
//! - Outer DSCP and ECN: per system call, in both directions (`control`).
//! - Receive queues: each address has a socket per queue and channel of ESP, and the kernel gives a packet to the one
//!   that its SPI says ([`steering`](super::steering)). IKE, and what comes to the sockets with DF, is read with queue 0.
//! - Outer TTL is the system's default.
//! - Too big for the path: ICMP errors end in [`PathMtus`] (RFC 4301 §8.2), as does a send that fails with `EMSGSIZE`.

mod clear;
mod control;
mod message;
mod outer;

use std::io;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc;

use self::clear::Clear;
pub(super) use self::message::BATCH;
use self::outer::OuterSocket;
use super::wake::{self, Wake};
use super::{Buffers, Channel, Net, Outgoing, PathMtus, Received, Unsent};
use crate::offload::Offload;

/// How long a sender waits for room in a socket before the packet is dropped, milliseconds.
const PATIENCE: u8 = 50;
/// Receive queues of raw ESP, at most: the kernel makes a copy of each packet for each raw socket to look at, which
/// costs about a twentieth of what a packet costs in all.
const RAW_QUEUES: usize = 4;
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
    /// Which of the offloads to use that the system has.
    pub offloads: Vec<Offload>,
    /// Whether ICMP errors may lower a path MTU (RFC 4301 §6.1.1).
    pub learn_path_mtu: bool,
    /// Receive queues.
    pub queues: usize,
}

/// All sockets of a gateway.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<OuterSocket>,
    clear: Clear,
    path_mtus: PathMtus,
    learn_path_mtu: bool,
    faults: Faults,
    queues: usize,
    wake: Wake,
}

/// What went wrong, by kind.
#[derive(Debug, Default)]
struct Faults {
    /// Receiving failed for a passing reason.
    receive: AtomicU64,
    /// Datagrams that did not fit their buffer.
    truncated: AtomicU64,
    /// ICMP errors: something that we sent was too big.
    too_big: AtomicU64,
    /// The same, and that is not to be believed.
    ignored: AtomicU64,
    /// Other ICMP errors about something that we sent.
    unreachable: AtomicU64,
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
                match bind(channel, bound, listen) {
                    Ok(opened) => sockets.extend(opened),
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
        sockets.iter_mut().for_each(|socket| socket.switch_on(&listen.offloads));
        let queues = listen.queues.max(1);
        let most = (0..queues).map(|queue| of(&sockets, queue).count()).max().unwrap_or(0);
        if most > wake::MAX_WAIT {
            let text = format!("{most} outer sockets for a thread, at most {} are possible", wake::MAX_WAIT);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let clear = Clear::open(listen.fwmark);
        let (path_mtus, faults) = (PathMtus::new(None), Faults::default());
        let learn_path_mtu = listen.learn_path_mtu;
        Ok(Self { sockets, clear, path_mtus, learn_path_mtu, faults, queues, wake: Wake::new()? })
    }

    /// The socket to send from: bound to the very address, else to any of the family; with DF as asked for, if there
    /// is one.
    fn sender(&self, outgoing: &Outgoing<'_>) -> Option<&OuterSocket> {
        let &Outgoing { channel, local, remote, df, .. } = outgoing;
        let fits = |socket: &&OuterSocket| socket.channel == channel && socket.bound.is_ipv4() == remote.is_ipv4();
        // Smaller is better.
        let rank = |socket: &&OuterSocket| {
            let bound = socket.bound.ip();
            let exact = bound == local.ip();
            let usable = exact || bound.is_unspecified() || local.ip().is_unspecified();
            usable.then_some((!exact, socket.df != df))
        };
        let ranked = self.sockets.iter().filter(fits).filter_map(|socket| Some((rank(&socket)?, socket)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, socket)| socket)
    }
}

/// The sockets that one thread reads.
fn of(sockets: &[OuterSocket], queue: usize) -> impl Iterator<Item = &OuterSocket> {
    sockets.iter().filter(move |socket| socket.queue == queue)
}

/// For IKE one socket; for ESP one for each receive queue, and one more that sends with DF.
fn bind(channel: Channel, bound: SocketAddr, listen: &Listen) -> io::Result<Vec<OuterSocket>> {
    let mut all = vec![OuterSocket::bind(channel, bound, listen.fwmark)?];
    if channel != Channel::Ike {
        let queues = listen.queues.clamp(1, if channel == Channel::RawEsp { RAW_QUEUES } else { usize::MAX });
        all[0].share()?;
        for (queue, df) in (1..queues).map(|queue| (queue, false)).chain(iter::once((0, true))) {
            let beside = all[0].beside(queue, df, listen.fwmark)?;
            all.push(beside);
        }
        for (queue, socket) in all.iter().take(queues).enumerate() {
            socket.steer(queue, listen.queues, queues)?;
        }
    }
    Ok(all)
}

/// Whether the address family is unknown to the system or switched off.
fn no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Several datagrams in one piece if possible, else as many as possible per system call.
fn send(socket: &OuterSocket, outgoing: &Outgoing<'_>) -> Result<(), Unsent> {
    let datagrams = outgoing.datagrams;
    if let [first, _, ..] = datagrams
        && socket.cuts()
        && let Ok(together) = u16::try_from(first.len())
    {
        match socket.send(outgoing, datagrams, Some(together)) {
            // The device cannot cut, or the datagrams exceed its MTU: one by one, fragmented where need be.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE)) => {}
            result => return Ok(result?),
        }
    }
    socket.send_each(outgoing)
}

impl Net for Sockets {
    fn queues(&self) -> usize {
        self.queues
    }

    fn receive(&self, queue: usize, buffers: &mut Buffers, each: &mut dyn FnMut(Received<'_>)) -> io::Result<bool> {
        let Some(ready) = wake::wait(&self.wake, of(&self.sockets, queue).map(AsFd::as_fd))? else {
            return Ok(false);
        };
        for (bit, socket) in of(&self.sockets, queue).enumerate() {
            if ready.failed >> bit & 1 == 1 {
                socket.take_errors(buffers, &self.faults, &self.path_mtus, self.learn_path_mtu);
            }
            if (ready.readable | ready.failed) >> bit & 1 == 1 {
                socket.receive(buffers, &self.faults, each)?;
            }
        }
        Ok(true)
    }

    fn send(&self, outgoing: &Outgoing<'_>) -> Result<(), Unsent> {
        if outgoing.channel == Channel::Clear {
            return Ok(outgoing.datagrams.iter().try_for_each(|packet| self.clear.send(packet))?);
        }
        let Some(socket) = self.sender(outgoing) else {
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no socket for this source address").into());
        };
        let result = send(socket, outgoing);
        if outgoing.df && result.as_ref().is_err_and(|unsent| unsent.error.raw_os_error() == Some(libc::EMSGSIZE)) {
            self.path_mtus.look_up();
        }
        result
    }

    fn path_mtus(&self) -> &PathMtus {
        &self.path_mtus
    }

    /// Those that every socket for ESP in UDP has.
    fn offloads(&self) -> Vec<Offload> {
        let mut all = Offload::all();
        for socket in self.sockets.iter().filter(|socket| socket.channel == Channel::NatT) {
            let has: Vec<_> = socket.offloads().collect();
            all.retain(|offload| has.contains(offload));
        }
        all.retain(|offload| matches!(offload, Offload::UdpSend | Offload::UdpReceive));
        all
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let Faults { receive, truncated, too_big, ignored, unreachable } = &self.faults;
        let all = [
            ("net.receive_errors", receive),
            ("net.truncated", truncated),
            ("net.icmp_too_big", too_big),
            ("net.icmp_ignored", ignored),
            ("net.icmp_unreachable", unreachable),
        ];
        all.map(|(name, count)| (name, count.load(Ordering::Relaxed))).to_vec()
    }

    fn stop(&self) {
        self.wake.raise();
    }
}

#[cfg(test)]
mod tests;
