//! TUN batch → `Flow::parse` → spd → sad → reserve → seal in place → UDP batch (RFC 4301 §5.1, RFC 4303 §3.3).
//!
//! | file | holds |
//! |---|---|
//! | `intake.rs` | frames from the device, cut into packets |
//! | `cache.rs` | what was decided for the flows seen last |
//! | `lookup.rs` | policy, then SA; without one, what the policy's terms say |
//! | `decide.rs` | one packet: the decision, carried out as far as its SA |
//! | `fragments.rs` | fragments put together, packets cut |
//! | `seal.rs` | what the outer header takes from the inner one; sealing the packets of one SA |
//! | `train.rs` | sealed packets that leave together |
//! | `release.rs` | packets that waited for their SA, looked at again |

mod cache;
mod decide;
mod fragments;
mod intake;
mod lookup;
mod release;
mod seal;
mod train;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cygnet_esp::{NextHeader, PacketBuf};

pub use self::fragments::Fragments;
pub use self::intake::Filled;
pub use self::release::Releaser;

use self::cache::{Cache, SaIndex};
use self::fragments::MAX_PACKET;
use self::intake::Intake;
use self::lookup::View;
use super::counters::Outbound as Fate;
use super::{BATCH, DataPath};
use crate::tun::Wait;

/// How long no packet comes before the cache, which keeps keys of SAs, is emptied.
const IDLE: Duration = Duration::from_secs(1);

/// Batches between two looks at whether the device was stopped.
const STRETCH: usize = 64;

/// A worker from TUN to the outer network.
#[derive(Debug)]
pub struct OutboundWorker {
    path: Arc<DataPath>,
    /// The queue of the device that it reads, which is its number, too.
    queue: usize,
    intake: Intake,
    /// The free list: those before `filled` hold the current batch.
    slots: Vec<Slot>,
    filled: usize,
    cache: Cache,
    /// A packet that was put together of fragments.
    whole: Slot,
}

/// A packet, and what was found out about it.
#[derive(Debug)]
struct Slot {
    packet: PacketBuf,
    /// Position in the batch: packets of an SA keep their order.
    position: usize,
    /// It was cut from the same frame as the one before it, and shares its fate.
    follows: bool,
    /// How many packets after this one were cut from the same frame.
    left: usize,
    /// The pair to use; packets without one are sorted out first.
    pair: Option<u64>,
    /// Its SA.
    sa: Option<SaIndex>,
    /// What ESP wraps.
    next: NextHeader,
    /// DSCP and ECN of the outer header.
    traffic_class: u8,
    /// DF of the outer header.
    df: bool,
    /// Length of the inner packet.
    octets: usize,
    /// It was put together of fragments, so that the outer packet may be fragmented in turn.
    reassembled: bool,
    /// It is an ESP packet now.
    sealed: bool,
}

impl Slot {
    fn new(packet: PacketBuf, position: usize) -> Self {
        Self {
            packet,
            position,
            follows: false,
            left: 0,
            pair: None,
            sa: None,
            next: NextHeader::NONE,
            traffic_class: 0,
            df: false,
            octets: 0,
            reassembled: false,
            sealed: false,
        }
    }
}

impl OutboundWorker {
    /// The worker for `queue` of the device, with buffers of its own.
    pub fn new(path: Arc<DataPath>, queue: usize) -> Self {
        let slots = (0..BATCH).map(|position| Slot::new(PacketBuf::for_mtu(path.mtu), position)).collect();
        let whole = Slot { reassembled: true, ..Slot::new(PacketBuf::for_mtu(MAX_PACKET), 0) };
        Self { path, queue, intake: Intake::new(), slots, filled: 0, cache: Cache::new(), whole }
    }

    /// Works until the device is stopped.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            // Without a limit only when nothing is remembered.
            let patience = (!self.cache.is_empty()).then_some(IDLE);
            match self.path.tun.wait(self.queue, patience)? {
                // Not for ever: it may have been stopped.
                Wait::Ready => {
                    for _ in 0..STRETCH {
                        if !self.batch()?.more {
                            break;
                        }
                    }
                }
                Wait::Idle => self.cache.clear(),
                Wait::Stopped => return Ok(()),
            }
        }
    }

    /// Reads, seals and sends what is there, at most [`BATCH`] packets.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn batch(&mut self) -> io::Result<Filled> {
        let Self { path, queue, intake, slots, .. } = self;
        let filled = intake.fill(&*path.tun, *queue, path.mtu, slots)?;
        self.filled = filled.packets;
        path.counters.saw_outbound(filled.packets as u64 + filled.malformed);
        path.counters.outbound(Fate::Unreadable, filled.malformed);
        self.protect();
        Ok(filled)
    }

    /// Finds each packet's SA, then works SA by SA.
    fn protect(&mut self) {
        let Self { path, queue, slots, filled, cache, whole, .. } = self;
        let (path, worker) = (&**path, u32::try_from(*queue).ok());
        // In this order: what is cached is no older than what the tables show.
        let generation = path.sad.generation();
        let tables = path.sad.snapshot();
        let policies = path.policies.load();
        path.hold.give_way();
        cache.begin(generation, &policies);
        let view = View { path, policies: &policies, tables: &tables, worker };
        let batch = slots.get_mut(..*filled).unwrap_or_default();
        let mut before = None;
        for slot in batch.iter_mut() {
            slot.sa = match before.filter(|_| slot.follows) {
                Some(same) => decide::ready(&view, cache, same, slot),
                None => decide::sort_out(&view, cache, whole, slot),
            };
            before = slot.sa;
            slot.pair = slot.sa.and_then(|sa| cache.sa(sa)).map(|sa| sa.id().0);
        }
        batch.sort_unstable_by_key(|slot| (slot.pair, slot.position));
        for run in batch.chunk_by_mut(|a, b| a.pair == b.pair) {
            let sa = run.first().and_then(|slot| cache.sa(slot.sa?));
            if let Some(sa) = sa {
                seal::seal_and_send(path, sa, run);
            }
        }
    }
}
