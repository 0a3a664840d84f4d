//! Packets that waited for their SA, looked at again: by the driver, whenever something changed for them.

use std::sync::Arc;
use std::time::Instant;

use cygnet_esp::PacketBuf;
use cygnet_spd::{Direction, Flow};

use super::lookup::{Verdict, View};
use super::train::Train;
use super::{Fate, Slot, seal, send_clear};
use crate::workers::hold::{AGE, Again, Held};
use crate::workers::{DataPath, Signal};

/// Largest IP packet.
const MAX_PACKET: usize = 65_535;

/// Lets go of packets that wait. It has buffers of its own, so one of them is enough.
#[derive(Debug)]
pub struct Releaser {
    path: Arc<DataPath>,
    slot: Slot,
    train: Train,
}

impl Releaser {
    /// For the packets that wait in `path`.
    pub fn new(path: Arc<DataPath>) -> Self {
        Self { path, slot: Slot::new(PacketBuf::for_mtu(MAX_PACKET), 0), train: Train::new() }
    }

    /// Makes `change`, then does with each packet that waits what is right now: sent through its SA if that is there,
    /// before any newer packet; sent in the clear, dropped, or left where it is.
    pub fn after<R>(&mut self, now: Instant, change: impl FnOnce() -> R) -> R {
        let Self { path, slot, train } = self;
        if path.hold.is_empty() {
            return change();
        }
        path.hold.reconsider(change, |held| match again(path, slot, train, held, now) {
            None => Again::Wait,
            Some(fate) => {
                path.counters.let_go(1);
                if let Some(fate) = fate {
                    path.counters.outbound(fate, 1);
                }
                Again::Gone
            }
        })
    }
}

/// The end of a packet, `Some(None)` if it was sealed and counted so; `None` if it waits on.
fn again(path: &DataPath, slot: &mut Slot, train: &mut Train, held: &Held, now: Instant) -> Option<Option<Fate>> {
    slot.packet.clear();
    let Ok(flow) = Flow::parse(&held.packet, Direction::Outbound) else { return Some(Some(Fate::Unreadable)) };
    if slot.packet.extend(&held.packet).is_err() {
        return Some(Some(Fate::TooBig));
    }
    // Taken anew for each: the packets before it may have used an SA up.
    let (policies, tables) = (path.policies.load(), path.sad.snapshot());
    let fate = match (View { path, policies: &policies, tables: &tables }).judge(&flow) {
        Verdict::Protect(sa) => match seal::prepare(sa, slot) {
            Ok(()) => {
                seal::seal_and_send(path, train, sa, std::slice::from_mut(slot));
                return Some(None);
            }
            Err(fate) => fate,
        },
        Verdict::Clear(fate) => send_clear(path, &held.packet, &flow).map_or(Fate::Unsent, |()| fate),
        Verdict::Drop(fate) => fate,
        Verdict::Hold { .. } if now.saturating_duration_since(held.since) >= AGE => Fate::HoldExpired,
        Verdict::Hold { key, acquire } => {
            if let Some(each) = acquire {
                path.signals.raise(Signal::Acquire { policy: key.policy, flow, each });
            }
            return None;
        }
    };
    Some(Some(fate))
}
