//! Sealed packets of one size to one peer, behind each other, for one system call (generic segmentation offload).

use cygnet_sad::{OutboundDrop, OutboundSa, Path};

use super::seal::drop_packets;
use super::{Fate, Slot};
use crate::net::{Channel, Outgoing};
use crate::workers::DataPath;

/// Octets that go to the network together: what fits an IPv4 packet behind its header and that of UDP.
const MAX_TOGETHER: usize = 65_535 - 20 - 8;

/// What an SA got rid of in a batch.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) packets: u64,
    /// Of inner packets.
    pub(super) octets: u64,
}

/// The packets that leave together.
#[derive(Debug)]
pub(super) struct Train {
    contents: Vec<u8>,
    segment: usize,
    segments: usize,
    /// The last one was smaller: nothing may follow.
    closed: bool,
    /// Of the outer headers of all of them.
    traffic_class: u8,
    df: bool,
    packets: u64,
    octets: u64,
}

impl Train {
    pub(super) fn new() -> Self {
        Self {
            contents: Vec::with_capacity(2 * MAX_TOGETHER),
            segment: 0,
            segments: 1,
            closed: false,
            traffic_class: 0,
            df: false,
            packets: 0,
            octets: 0,
        }
    }

    /// Gets ready for packets of which at most `segments` may leave together.
    pub(super) fn start(&mut self, segments: usize) {
        self.segments = segments;
    }

    /// Whether a sealed packet may leave with those that are there.
    pub(super) fn fits(&self, slot: &Slot) -> bool {
        let len = slot.packet.len();
        self.packets == 0
            || !self.closed
                && (self.traffic_class, self.df) == (slot.traffic_class, slot.df)
                && len <= self.segment
                && self.packets < self.segments as u64
                && self.contents.len() + len <= MAX_TOGETHER
    }

    pub(super) fn push(&mut self, slot: &Slot) {
        if self.packets == 0 {
            self.segment = slot.packet.len();
            (self.traffic_class, self.df) = (slot.traffic_class, slot.df);
        }
        self.closed = slot.packet.len() < self.segment;
        self.contents.extend_from_slice(slot.packet.data());
        self.packets += 1;
        self.octets += slot.octets as u64;
    }

    pub(super) fn send(&mut self, path: &DataPath, sa: &OutboundSa, outer: &Path, channel: Channel, sent: &mut Sent) {
        if self.packets == 0 {
            return;
        }
        let outgoing = Outgoing {
            contents: &self.contents,
            segment: self.segment,
            channel,
            local: outer.local,
            remote: outer.remote,
            traffic_class: self.traffic_class,
            df: self.df,
        };
        if path.net.send(&outgoing).is_ok() {
            path.counters.outbound(Fate::Sealed, self.packets);
            sent.packets += self.packets;
            sent.octets += self.octets;
        } else {
            drop_packets(path, sa, OutboundDrop::Send, self.packets, None);
        }
        self.contents.clear();
        (self.packets, self.octets, self.closed) = (0, 0, false);
    }
}
