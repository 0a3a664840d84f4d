//! Frames from the device, cut into the packets of a batch.

use std::io;
use std::ops::Range;

use cygnet_esp::PacketBuf;

use super::Slot;
use crate::offload::{Head, Segments, complete};
use crate::tun::{Frame, MAX_FRAME, Tun};

/// Free packets that must be left for another frame to be begun: as many as most are cut into.
const FRAME: usize = 48;

/// The frame that was read last, as long as it is not used up.
#[derive(Debug)]
pub(super) struct Intake {
    frame: Box<[u8]>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    at: Range<usize>,
    segments: Segments,
    next: usize,
}

/// What was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// Packets.
    pub packets: usize,
    /// Frames that could not be read.
    pub malformed: u64,
    /// Whether there may be more at once.
    pub more: bool,
}

impl Intake {
    pub(super) fn new() -> Self {
        Self { frame: vec![0; MAX_FRAME].into_boxed_slice(), pending: None }
    }

    /// Fills `slots` from their beginning with packets from `queue` of at most `mtu` octets. Longer ones are cut off, or left empty if
    /// they were part of a frame, and are then found to be malformed.
    ///
    /// # Errors
    /// When the device is gone.
    pub(super) fn fill(&mut self, tun: &dyn Tun, queue: usize, mtu: usize, slots: &mut [Slot]) -> io::Result<Filled> {
        let mut filled = Filled { packets: 0, malformed: 0, more: true };
        loop {
            while let (Some(pending), Some(slot)) = (&mut self.pending, slots.get_mut(filled.packets)) {
                let frame = self.frame.get(pending.at.clone()).unwrap_or_default();
                pending.write(frame, mtu, &mut slot.packet);
                slot.follows = pending.next > 1 && filled.packets > 0;
                slot.left = pending.segments.count() - pending.next;
                slot.position = filled.packets;
                filled.packets += 1;
                if pending.next == pending.segments.count() {
                    self.pending = None;
                }
            }
            if self.pending.is_some() || slots.len().saturating_sub(filled.packets) < FRAME.min(slots.len()) {
                return Ok(filled);
            }
            let Some(Frame { at, head }) = tun.read(queue, &mut self.frame)? else {
                filled.more = false;
                return Ok(filled);
            };
            let Some(frame) = self.frame.get_mut(at.clone()) else { continue };
            match Segments::of(frame, &head) {
                Ok(Some(segments)) => self.pending = Some(Pending { at, segments, next: 0 }),
                Ok(None) => match slots.get_mut(filled.packets) {
                    Some(slot) if finish(frame, &head) => {
                        put(frame, mtu, &mut slot.packet);
                        (slot.follows, slot.left) = (false, 0);
                        slot.position = filled.packets;
                        filled.packets += 1;
                    }
                    _ => filled.malformed += 1,
                },
                Err(_) => filled.malformed += 1,
            }
        }
    }
}

impl Pending {
    fn write(&mut self, frame: &[u8], mtu: usize, packet: &mut PacketBuf) {
        packet.clear();
        let len = self.segments.len(self.next);
        if len <= mtu
            && let Ok(out) = packet.append(len)
        {
            self.segments.write(frame, self.next, out);
        }
        self.next += 1;
    }
}

/// Does what is left to be done with a frame that is one packet.
fn finish(frame: &mut [u8], head: &Head) -> bool {
    head.checksum.is_none_or(|partial| complete(frame, partial).is_ok())
}

fn put(frame: &[u8], mtu: usize, packet: &mut PacketBuf) {
    packet.clear();
    let frame = frame.get(..mtu).unwrap_or(frame);
    // A slot has room for the MTU, and so for this.
    let _ = packet.extend(frame);
}
