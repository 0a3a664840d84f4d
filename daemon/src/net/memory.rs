//! The in-memory twin of the sockets: gateways joined by a wire within one process.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::frames::Frames;
use super::sockets::BATCH;
use super::steering::queue_of;
use super::{Buffers, Channel, Net, Outgoing, PathMtus, Received, Unsent};

/// Frames a gateway may leave unread before the wire drops.
const QUEUE: usize = 1024;
/// Largest frame that does not make a buffer grow.
const FRAME: usize = 2048;

/// What travels beside the octets.
#[derive(Debug, Clone, Copy)]
struct Tag {
    channel: Channel,
    local: SocketAddr,
    remote: SocketAddr,
    traffic_class: u8,
}

/// A host's receive queues.
type Inboxes = Arc<[Frames<Tag>]>;

/// What the hosts take for the MTU of their link, octets.
const LINK: u16 = 1500;

/// Joins any number of [`MemoryNet`]s; delivers by destination address, in order, without loss until a queue is full.
#[derive(Debug)]
pub struct Wire {
    hosts: Mutex<HashMap<IpAddr, Inboxes>>,
    /// Largest packet, IP header included, octets.
    mtu: AtomicU16,
}

impl Wire {
    /// A wire with nobody on it, for packets of any size.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { hosts: Mutex::default(), mtu: AtomicU16::new(u16::MAX) })
    }

    /// From now on, larger packets that may not be fragmented are lost, and their sender is told so as by ICMP.
    pub fn set_mtu(&self, octets: u16) {
        self.mtu.store(octets, Ordering::Relaxed);
    }

    /// A host with this address and these IKE and NAT traversal ports.
    pub fn host(self: &Arc<Self>, address: IpAddr, ike_port: u16, nat_port: u16) -> MemoryNet {
        self.host_with_queues(address, ike_port, nat_port, 1)
    }

    /// The same with `queues` receive queues.
    pub fn host_with_queues(
        self: &Arc<Self>,
        address: IpAddr,
        ike_port: u16,
        nat_port: u16,
        queues: usize,
    ) -> MemoryNet {
        let inboxes: Inboxes = (0..queues.max(1)).map(|_| Frames::new(QUEUE, FRAME)).collect();
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(address, Arc::clone(&inboxes));
        let clear = Frames::new(QUEUE, FRAME);
        let path_mtus = PathMtus::new(Some(LINK));
        MemoryNet { wire: Arc::clone(self), inboxes, clear, address, ike_port, nat_port, path_mtus }
    }
}

/// One host on a [`Wire`].
#[derive(Debug)]
pub struct MemoryNet {
    wire: Arc<Wire>,
    inboxes: Inboxes,
    /// What was sent in the clear: it goes to hosts that are not on the wire.
    clear: Frames<()>,
    address: IpAddr,
    ike_port: u16,
    nat_port: u16,
    path_mtus: PathMtus,
}

impl MemoryNet {
    /// Plays whoever receives what this host sends in the clear, waiting at most `patience` for a packet.
    pub fn take_clear<R>(&self, patience: Duration, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.clear.pop_within(patience, |packet, ()| look(packet))
    }

    fn port(&self, channel: Channel) -> u16 {
        match channel {
            Channel::Ike => self.ike_port,
            Channel::NatT => self.nat_port,
            Channel::RawEsp | Channel::Clear => 0,
        }
    }
}

impl Net for MemoryNet {
    fn queues(&self) -> usize {
        self.inboxes.len()
    }

    fn receive(&self, queue: usize, _: &mut Buffers, each: &mut dyn FnMut(Received<'_>)) -> io::Result<bool> {
        let Some(inbox) = self.inboxes.get(queue).filter(|inbox| inbox.wait()) else {
            return Ok(false);
        };
        for _ in 0..BATCH {
            let taken = inbox.pop(|bytes, tag| {
                each(Received {
                    bytes,
                    channel: tag.channel,
                    local: tag.local,
                    remote: tag.remote,
                    traffic_class: tag.traffic_class,
                    first: true,
                });
            });
            if taken.is_none() {
                break;
            }
        }
        Ok(true)
    }

    fn send(&self, outgoing: &Outgoing<'_>) -> Result<(), Unsent> {
        if outgoing.channel == Channel::Clear {
            for packet in outgoing.datagrams {
                self.clear.push(packet, ());
            }
            return Ok(());
        }
        let hosts = self.wire.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(inboxes) = hosts.get(&outgoing.remote.ip()) else {
            return Err(io::Error::from(io::ErrorKind::HostUnreachable).into());
        };
        let inboxes = Arc::clone(inboxes);
        drop(hosts);
        let tag = Tag {
            channel: outgoing.channel,
            local: outgoing.remote,
            remote: SocketAddr::new(self.address, self.port(outgoing.channel)),
            traffic_class: outgoing.traffic_class,
        };
        let mtu = self.wire.mtu.load(Ordering::Relaxed);
        for frame in outgoing.datagrams {
            if outgoing.df && headers(outgoing) + frame.len() > usize::from(mtu) {
                self.path_mtus.too_big(outgoing.remote.ip(), mtu.into(), Instant::now());
            } else if let Some(inbox) = inboxes.get(queue_of(outgoing.channel, frame, inboxes.len())) {
                inbox.push(frame, tag);
            }
        }
        Ok(())
    }

    fn path_mtus(&self) -> &PathMtus {
        &self.path_mtus
    }

    fn stop(&self) {
        self.inboxes.iter().for_each(Frames::close);
        self.clear.close();
    }
}

/// Octets of the outer headers before the contents.
fn headers(outgoing: &Outgoing<'_>) -> usize {
    let udp = match outgoing.channel {
        Channel::Ike | Channel::NatT => 8,
        Channel::RawEsp => 0,
        Channel::Clear => return 0,
    };
    udp + if outgoing.remote.is_ipv4() { 20 } else { 40 }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;

    #[test]
    fn the_wire_tells_who_sends_too_much() {
        let wire = Wire::new();
        let (a, b) = (wire.host([192, 0, 2, 1].into(), 500, 4500), wire.host([192, 0, 2, 2].into(), 500, 4500));
        let remote = SocketAddr::from(([192, 0, 2, 2], 4500));
        let path = (IpAddr::from([192, 0, 2, 1]), remote.ip());
        a.path_mtus().watch(path);
        assert_eq!(a.path_mtus().get(path), Some(LINK));
        wire.set_mtu(1400);
        let send = |len: usize, df| {
            let contents = &vec![0; len];
            let local = SocketAddr::new(path.0, 4500);
            let (datagrams, channel, traffic_class) = (&[IoSlice::new(contents)], Channel::NatT, 0);
            a.send(&Outgoing { datagrams, channel, local, remote, traffic_class, df }).expect("b is there");
            b.inboxes[0].pop(|bytes, _| bytes.len())
        };
        assert_eq!(send(1373, false), Some(1373));
        assert_eq!(a.path_mtus().get(path), Some(LINK));
        assert_eq!(send(1373, true), None);
        assert_eq!(a.path_mtus().get(path), Some(1400));
        assert_eq!(send(1372, true), Some(1372));
    }

    #[test]
    fn delivers_segments_with_both_addresses() {
        let wire = Wire::new();
        let a = wire.host([192, 0, 2, 1].into(), 500, 4500);
        let b = wire.host([192, 0, 2, 2].into(), 500, 4500);
        let to = SocketAddr::from(([192, 0, 2, 2], 4500));
        let from = SocketAddr::from(([192, 0, 2, 1], 4500));
        let out = Outgoing {
            datagrams: &[b"aa", b"bb", &b"c"[..]].map(IoSlice::new),
            channel: Channel::NatT,
            local: from,
            remote: to,
            traffic_class: 2,
            df: false,
        };
        a.send(&out).expect("b is on the wire");
        let mut seen = Vec::new();
        let more = b.receive(0, &mut Buffers::new(), &mut |got| {
            assert_eq!((got.local, got.remote, got.traffic_class), (to, from, 2));
            seen.push(got.bytes.to_vec());
        });
        assert!(more.expect("memory does not fail"));
        assert_eq!(seen, [b"aa".to_vec(), b"bb".to_vec(), b"c".to_vec()]);
        b.stop();
        assert!(!b.receive(0, &mut Buffers::new(), &mut |_| ()).expect("memory does not fail"));
    }
}
