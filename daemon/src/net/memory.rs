//! The in-memory twin of the sockets: gateways joined by a wire within one process.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use super::frames::Frames;
use super::{Buffers, Channel, Net, Outgoing, Received};

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

/// Joins any number of [`MemoryNet`]s; delivers by destination address, in order, without loss until a queue is full.
#[derive(Debug, Default)]
pub struct Wire {
    hosts: Mutex<HashMap<IpAddr, Arc<Frames<Tag>>>>,
}

impl Wire {
    /// A wire with nobody on it.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A host with this address and these IKE and NAT traversal ports.
    pub fn host(self: &Arc<Self>, address: IpAddr, ike_port: u16, nat_port: u16) -> MemoryNet {
        let inbox = Arc::new(Frames::new(QUEUE, FRAME));
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(address, Arc::clone(&inbox));
        MemoryNet { wire: Arc::clone(self), inbox, address, ike_port, nat_port }
    }
}

/// One host on a [`Wire`].
#[derive(Debug)]
pub struct MemoryNet {
    wire: Arc<Wire>,
    inbox: Arc<Frames<Tag>>,
    address: IpAddr,
    ike_port: u16,
    nat_port: u16,
}

impl MemoryNet {
    fn port(&self, channel: Channel) -> u16 {
        match channel {
            Channel::Ike => self.ike_port,
            Channel::NatT => self.nat_port,
            Channel::RawEsp | Channel::Clear => 0,
        }
    }
}

impl Net for MemoryNet {
    fn receive(&self, _: &mut Buffers, each: &mut dyn FnMut(Received<'_>)) -> io::Result<bool> {
        if !self.inbox.wait() {
            return Ok(false);
        }
        for _ in 0..quinn_udp::BATCH_SIZE {
            let taken = self.inbox.pop(|bytes, tag| {
                each(Received {
                    bytes,
                    channel: tag.channel,
                    local: tag.local,
                    remote: tag.remote,
                    traffic_class: tag.traffic_class,
                });
            });
            if taken.is_none() {
                break;
            }
        }
        Ok(true)
    }

    fn send(&self, outgoing: &Outgoing<'_>) -> io::Result<()> {
        let hosts = self.wire.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(inbox) = hosts.get(&outgoing.remote.ip()) else {
            return Err(io::ErrorKind::HostUnreachable.into());
        };
        let inbox = Arc::clone(inbox);
        drop(hosts);
        let tag = Tag {
            channel: outgoing.channel,
            local: outgoing.remote,
            remote: SocketAddr::new(self.address, self.port(outgoing.channel)),
            traffic_class: outgoing.traffic_class,
        };
        for frame in outgoing.contents.chunks(outgoing.segment.max(1)) {
            inbox.push(frame, tag);
        }
        Ok(())
    }

    fn max_segments(&self, _: Channel) -> usize {
        64
    }

    fn stop(&self) {
        self.inbox.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivers_segments_with_both_addresses() {
        let wire = Wire::new();
        let a = wire.host([192, 0, 2, 1].into(), 500, 4500);
        let b = wire.host([192, 0, 2, 2].into(), 500, 4500);
        let to = SocketAddr::from(([192, 0, 2, 2], 4500));
        let from = SocketAddr::from(([192, 0, 2, 1], 4500));
        let out = Outgoing {
            contents: b"aabbc",
            segment: 2,
            channel: Channel::NatT,
            local: from,
            remote: to,
            traffic_class: 2,
            df: false,
        };
        a.send(&out).expect("b is on the wire");
        let mut seen = Vec::new();
        let more = b.receive(&mut Buffers::new(), &mut |got| {
            assert_eq!((got.local, got.remote, got.traffic_class), (to, from, 2));
            seen.push(got.bytes.to_vec());
        });
        assert!(more.expect("memory does not fail"));
        assert_eq!(seen, [b"aa".to_vec(), b"bb".to_vec(), b"c".to_vec()]);
        b.stop();
        assert!(!b.receive(&mut Buffers::new(), &mut |_| ()).expect("memory does not fail"));
    }
}
