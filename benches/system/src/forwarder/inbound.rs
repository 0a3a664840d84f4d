//! UDP to TUN.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use cygnet::offload::Merger;
use cygnet::tun::{Tun, TunDevice};
use nix::libc;

use super::seal::Keys;
use super::{HEADER, TAG};
use crate::mmsg::Batch;

/// Coalesced reads of one call.
const READS: usize = 16;
/// Octets of each.
const READ: usize = 65_535;
/// Packets put together at once: no fewer than a read can hold of any size that a link carries in number.
const PACKETS: usize = 2048;

pub(super) struct Inbound {
    tun: Arc<TunDevice>,
    socket: Arc<UdpSocket>,
    keys: Keys,
    batch: Batch,
    /// Where opened packets are in the batch.
    packets: Vec<(usize, usize)>,
    merger: Merger,
}

impl Inbound {
    pub(super) fn new(tun: Arc<TunDevice>, socket: Arc<UdpSocket>, keys: Keys) -> Self {
        let merger = Merger::new(PACKETS, tun.offloads());
        let packets = Vec::with_capacity(PACKETS);
        Self { tun, socket, keys, batch: Batch::new(READS, READ), packets, merger }
    }

    pub(super) fn run(&mut self) -> io::Result<()> {
        loop {
            match self.batch.receive(&*self.socket, libc::MSG_WAITFORONE) {
                Ok(count) => self.open(count),
                // An ICMP error: the other end is not there yet.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn open(&mut self, count: usize) {
        self.packets.clear();
        let Batch { storage, messages, .. } = &mut self.batch;
        for message in messages.iter().take(count) {
            let Some(together) = storage.get_mut(message.at..message.at + message.len) else { continue };
            for (n, whole) in together.chunks_mut(message.segment).enumerate() {
                if self.keys.open(whole) {
                    let begin = message.at + n * message.segment + HEADER;
                    self.packets.push((begin, begin + whole.len() - HEADER - TAG));
                }
            }
        }
        let Self { packets, .. } = self;
        let packets = std::mem::take(packets);
        packets.chunks(PACKETS).for_each(|some| self.deliver(some));
        self.packets = packets;
    }

    fn deliver(&mut self, packets: &[(usize, usize)]) {
        let Self { tun, batch, merger, .. } = self;
        let storage = &*batch.storage;
        let packet = |at: usize| packets.get(at).and_then(|&(from, to)| storage.get(from..to)).unwrap_or_default();
        merger.clear();
        (0..packets.len()).for_each(|at| merger.add(at, packet(at), packet));
        for group in merger.groups() {
            let members = || merger.members(group).map(packet);
            let Some(first) = members().next() else { continue };
            // What the device refuses is lost, as on any link.
            let _ = match group.headers(first) {
                None => tun.write(0, first),
                Some(headers) => {
                    let (pieces, used) = headers.pieces(members());
                    tun.write_frame(0, &headers.head, pieces.get(..used).unwrap_or_default())
                }
            };
        }
    }
}
