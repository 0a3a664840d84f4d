//! Sealed packets to one peer that leave together: with UDP, of one size, so that one system call carries them as one
//! (generic segmentation offload); with raw ESP, of any size.

use std::io::{self, IoSlice};

use cygnet_sad::{OutboundDrop, OutboundSa, Path};

use super::seal::drop_packets;
use super::{Fate, Slot};
use crate::net::{Channel, MAX_SEGMENTS, MAX_TOGETHER, Outgoing};
use crate::workers::DataPath;

/// What an SA got rid of in a batch.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) packets: u64,
    /// Of inner packets.
    pub(super) octets: u64,
    /// There was no room for the last ones, and none came.
    stuck: bool,
}

/// Sends the packets of `run` that are sealed, in order. The network waits a short while for room; if none comes, the
/// rest is dropped, since other threads may wait for their turn.
pub(super) fn send_all(path: &DataPath, sa: &OutboundSa, outer: &Path, run: &[Slot]) -> Sent {
    let channel = if outer.udp_encapsulation { Channel::NatT } else { Channel::RawEsp };
    let mut sent = Sent::default();
    for run in run.split(|slot| !slot.sealed) {
        let mut rest = run;
        while !rest.is_empty() {
            if sent.stuck {
                drop_packets(path, sa, OutboundDrop::Send, rest.len() as u64, None);
                break;
            }
            let (train, others) = rest.split_at(together(rest, channel));
            send(path, sa, outer, channel, train, &mut sent);
            rest = others;
        }
    }
    sent
}

/// How many packets at the beginning of `run` leave together: at least one.
fn together(run: &[Slot], channel: Channel) -> usize {
    let Some(first) = run.first() else { return 0 };
    let (size, mut octets, mut closed) = (first.packet.len(), 0, false);
    let joins = |(at, slot): (usize, &Slot)| {
        let len = slot.packet.len();
        let alike = (slot.traffic_class, slot.df) == (first.traffic_class, first.df);
        octets += len;
        // Only the last may be smaller.
        let follows = !std::mem::replace(&mut closed, len < size);
        // A frame stays in one piece, if it can: then the peer can put it together again.
        let whole = slot.follows || at + slot.left < MAX_SEGMENTS && octets + slot.left * size <= MAX_TOGETHER;
        alike && (channel == Channel::RawEsp || follows && len <= size && octets <= MAX_TOGETHER && whole)
    };
    run.iter().take(MAX_SEGMENTS).enumerate().map(joins).take_while(|&joins| joins).count().max(1)
}

fn send(path: &DataPath, sa: &OutboundSa, outer: &Path, channel: Channel, train: &[Slot], sent: &mut Sent) {
    let mut datagrams = [IoSlice::new(&[]); MAX_SEGMENTS];
    for (datagram, slot) in datagrams.iter_mut().zip(train) {
        *datagram = IoSlice::new(slot.packet.data());
    }
    let (Some(datagrams), Some(first)) = (datagrams.get(..train.len()), train.first()) else { return };
    let outgoing = Outgoing {
        datagrams,
        channel,
        local: outer.local,
        remote: outer.remote,
        traffic_class: first.traffic_class,
        df: first.df,
    };
    let unsent = path.net.send(&outgoing).err();
    sent.stuck = unsent.as_ref().is_some_and(|unsent| unsent.error.kind() == io::ErrorKind::WouldBlock);
    let lost = unsent.map_or(0, |unsent| unsent.lost);
    let left = |(n, slot): (usize, &Slot)| (lost >> n & 1 == 0).then_some(slot.octets as u64);
    let (mut packets, mut octets) = (0, 0);
    for inner in train.iter().enumerate().filter_map(left) {
        packets += 1;
        octets += inner;
    }
    path.counters.outbound(Fate::Sealed, packets);
    sent.packets += packets;
    sent.octets += octets;
    let refused = train.len() as u64 - packets;
    if refused > 0 {
        drop_packets(path, sa, OutboundDrop::Send, refused, None);
    }
}
