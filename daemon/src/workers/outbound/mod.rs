//! TUN batch → `Flow::parse` → spd → sad → reserve → seal in place → UDP batch (RFC 4301 §5.1, RFC 4303 §3.3).
//!
//! | file | holds |
//! |---|---|
//! | `lookup.rs` | policy, then SA; without one, what the policy's terms say |
//! | `seal.rs` | what the outer header takes from the inner one; sealing the packets of one SA |
//! | `train.rs` | sealed packets of one size that leave together |
//! | `release.rs` | packets that waited for their SA, looked at again |

mod lookup;
mod release;
mod seal;
mod train;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use cygnet_esp::tunnel::Inner;
use cygnet_esp::{NextHeader, PacketBuf};
use cygnet_sad::OutboundSa;
use cygnet_spd::{Direction, Flow};

pub use self::release::Releaser;

use self::lookup::{Verdict, View};
use self::train::Train;
use super::counters::Outbound as Fate;
use super::{BATCH, DataPath, Signal};
use crate::net::{Channel, Outgoing};

/// A worker from TUN to the outer network.
#[derive(Debug)]
pub struct OutboundWorker {
    path: Arc<DataPath>,
    /// The free list: those before `filled` hold the current batch.
    slots: Vec<Slot>,
    filled: usize,
    train: Train,
}

/// A packet, and what was found out about it.
#[derive(Debug)]
struct Slot {
    packet: PacketBuf,
    /// Position in the batch: packets of an SA keep their order.
    position: usize,
    /// The pair to use; packets without one are sorted out first.
    pair: Option<u64>,
    /// What ESP wraps.
    next: NextHeader,
    /// DSCP and ECN of the outer header.
    traffic_class: u8,
    /// DF of the outer header.
    df: bool,
    /// Length of the inner packet.
    octets: usize,
}

impl Slot {
    fn new(packet: PacketBuf, position: usize) -> Self {
        Self { packet, position, pair: None, next: NextHeader::NONE, traffic_class: 0, df: false, octets: 0 }
    }
}

impl OutboundWorker {
    /// A worker with buffers of its own.
    pub fn new(path: Arc<DataPath>) -> Self {
        let slots = (0..BATCH).map(|position| Slot::new(PacketBuf::for_mtu(path.mtu), position)).collect();
        Self { path, slots, filled: 0, train: Train::new() }
    }

    /// Works until the device is stopped.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn run(&mut self) -> io::Result<()> {
        while self.path.tun.wait()? {
            while self.batch()? == BATCH {}
        }
        Ok(())
    }

    /// Reads, seals and sends what is there, at most [`BATCH`] packets. Returns how many there were.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn batch(&mut self) -> io::Result<usize> {
        self.fill()?;
        self.path.counters.saw_outbound(self.filled as u64);
        self.protect();
        Ok(self.filled)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.filled = 0;
        for slot in &mut self.slots {
            slot.packet.clear();
            // Leaves the room at the end that sealing needs.
            let mtu = self.path.mtu.min(slot.packet.tailroom());
            let Some(buffer) = slot.packet.spare_mut().get_mut(..mtu) else { break };
            let Some(len) = self.path.tun.read(buffer)? else { break };
            if slot.packet.append(len.min(mtu)).is_err() {
                break;
            }
            slot.position = self.filled;
            self.filled += 1;
        }
        Ok(())
    }

    /// Finds each packet's SA, then works SA by SA.
    fn protect(&mut self) {
        let path = &*self.path;
        let policies = path.policies.load();
        let tables = path.sad.snapshot();
        path.hold.give_way();
        let view = View { path, policies: &policies, tables: &tables };
        let batch = self.slots.get_mut(..self.filled).unwrap_or_default();
        let mut sas: [Option<&OutboundSa>; BATCH] = [None; BATCH];
        for (slot, sa) in batch.iter_mut().zip(&mut sas) {
            *sa = sort_out(&view, slot);
            slot.pair = sa.map(|sa| sa.id().0);
        }
        batch.sort_unstable_by_key(|slot| (slot.pair, slot.position));
        for run in batch.chunk_by_mut(|a, b| a.pair == b.pair) {
            let sa = run.first().and_then(|slot| *sas.get(slot.position)?);
            if let Some(sa) = sa {
                seal::seal_and_send(path, &mut self.train, sa, run);
            }
        }
    }
}

/// The SA of a packet, which is ready to be sealed; one without has found its end.
fn sort_out<'t>(view: &View<'t>, slot: &mut Slot) -> Option<&'t OutboundSa> {
    let path = view.path;
    let Ok(flow) = Flow::parse(slot.packet.data(), Direction::Outbound) else {
        path.counters.outbound(Fate::Unreadable, 1);
        return None;
    };
    let fate = match view.judge(&flow) {
        Verdict::Protect(sa) => match seal::prepare(sa, slot) {
            Ok(()) => return Some(sa),
            Err(fate) => fate,
        },
        Verdict::Clear(fate) => send_clear(path, slot.packet.data(), &flow).map_or(Fate::Unsent, |()| fate),
        Verdict::Drop(fate) => fate,
        Verdict::Hold { key, acquire } => {
            let held = path.hold.push(key, Instant::now(), slot.packet.data());
            // Asked for after it was put there. And if the SA came in between, the driver has let go of everything
            // before this packet: it hears of this one, too.
            if acquire.is_some() || view.is_outdated() {
                path.signals.raise(Signal::Acquire { policy: key.policy, flow, each: acquire == Some(true) });
            }
            if held { Fate::Held } else { Fate::HoldFull }
        }
    };
    path.counters.outbound(fate, 1);
    None
}

/// Sends a packet as it is, without what follows its own length.
fn send_clear(path: &DataPath, packet: &[u8], flow: &Flow) -> io::Result<()> {
    let packet = Inner::parse(packet).and_then(|inner| packet.get(..inner.len)).unwrap_or(packet);
    path.net.send(&Outgoing {
        contents: packet,
        segment: packet.len(),
        channel: Channel::Clear,
        local: (flow.local, 0).into(),
        remote: (flow.remote, 0).into(),
        traffic_class: 0,
        df: false,
    })
}
