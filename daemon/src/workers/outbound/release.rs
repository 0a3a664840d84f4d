//! Packets that waited for their SA, looked at again: by the driver, whenever something changed for them.

use std::sync::Arc;
use std::time::Instant;

use cygnet_esp::PacketBuf;
use cygnet_spd::{Direction, Flow};

use super::decide::{end, refuse, send_clear};
use super::lookup::{Verdict, View};
use super::{Fate, MAX_PACKET, Slot, seal};
use crate::workers::hold::{AGE, Again, Held};
use crate::workers::{DataPath, Signal};

/// Lets go of packets that wait. It has buffers of its own, so one of them is enough.
#[derive(Debug)]
pub struct Releaser {
    path: Arc<DataPath>,
    slot: Slot,
}

impl Releaser {
    /// For the packets that wait in `path`.
    pub fn new(path: Arc<DataPath>) -> Self {
        Self { path, slot: Slot::new(PacketBuf::for_mtu(MAX_PACKET), 0) }
    }

    /// Makes `change`, then does with each packet that waits what is right now: sent through its SA if that is there,
    /// before any newer packet; sent in the clear, dropped, or left where it is.
    pub fn after<R>(&mut self, now: Instant, change: impl FnOnce() -> R) -> R {
        let Self { path, slot } = self;
        if path.hold.is_empty() {
            return change();
        }
        path.hold.reconsider(change, |held| match again(path, slot, held, now) {
            false => Again::Wait,
            true => {
                path.counters.let_go(1);
                Again::Gone
            }
        })
    }
}

/// Whether a packet found its end.
fn again(path: &DataPath, slot: &mut Slot, held: &Held, now: Instant) -> bool {
    let packet = &held.packet;
    slot.packet.clear();
    slot.reassembled = packet.len() > path.mtu;
    let fits = slot.packet.extend(packet).is_ok();
    let Some(flow) = Flow::parse(packet, Direction::Outbound).ok().filter(|_| fits) else {
        end(path, Fate::Unreadable, None);
        return true;
    };
    // Taken anew for each: the packets before it may have used an SA up.
    let (policies, tables) = (path.policies.load(), path.sad.snapshot());
    let fate = match (View { path, policies: &policies, tables: &tables, worker: None }).judge(packet, &flow) {
        Verdict::Protect(sa) | Verdict::ProtectError(sa) => {
            if seal::ready(path, sa, slot) {
                seal::seal_and_send(path, sa, std::slice::from_mut(slot));
            }
            return true;
        }
        Verdict::Bypass => {
            send_clear(path, packet, &flow, slot.reassembled, None);
            return true;
        }
        Verdict::Clear(policy) => {
            send_clear(path, packet, &flow, slot.reassembled, Some(policy));
            return true;
        }
        Verdict::Drop(fate) => fate,
        Verdict::Hold { .. } if now.saturating_duration_since(held.since) >= AGE => Fate::HoldExpired,
        Verdict::Hold { key, acquire } => {
            if let Some(each) = acquire {
                path.signals.raise(Signal::Acquire { policy: key.policy, flow, each });
            }
            return false;
        }
    };
    refuse(path, fate, &flow, packet);
    true
}
