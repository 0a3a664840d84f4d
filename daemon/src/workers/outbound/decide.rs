//! One packet: what is decided about it, carried out as far as its SA.

use std::io::{self, IoSlice};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use cygnet_esp::icmp;
use cygnet_esp::tunnel::Inner;
use cygnet_spd::{Direction, Flow, PolicyId};

use super::cache::{Cache, Decided, SaIndex};
use super::lookup::{Verdict, View};
use super::{Fate, MAX_PACKET, Slot, fragments, seal};
use crate::net::{Channel, Outgoing};
use crate::workers::audit::{AuditEvent, Reason};
use crate::workers::{DataPath, Signal};

/// The SA of a packet, which is ready to be sealed; one without has found its end.
pub(super) fn sort_out(view: &View<'_>, cache: &mut Cache, whole: &mut Slot, slot: &mut Slot) -> Option<SaIndex> {
    let path = view.path;
    if let Some(fragment) = Flow::of_fragment(slot.packet.data(), Direction::Outbound)
        && needs_whole(view, cache, &fragment)
    {
        match path.fragments.add(slot.packet.data(), Instant::now(), &mut whole.packet) {
            Ok(false) => path.counters.outbound(Fate::Fragment, 1),
            Err(_) => end(path, Fate::BadFragment, Some(&fragment)),
            Ok(true) => {
                if let Some(sa) = decide(view, cache, whole).and_then(|sa| cache.sa(sa)) {
                    seal::seal_and_send(path, sa, slice::from_mut(whole));
                }
            }
        }
        return None;
    }
    decide(view, cache, slot)
}

/// RFC 4301 §7: of the fragments of a packet, only the first shows its ports.
fn needs_whole(view: &View<'_>, cache: &mut Cache, fragment: &Flow) -> bool {
    match cache.get(fragment) {
        Some(Decided::Whole) => true,
        // A packet that is not the first fragment, judged by the same flow.
        Some(_) => false,
        None => {
            let needed = view.needs_whole(fragment);
            if needed {
                cache.insert(fragment, Decided::Whole);
            }
            needed
        }
    }
}

fn decide(view: &View<'_>, cache: &mut Cache, slot: &mut Slot) -> Option<SaIndex> {
    let path = view.path;
    let packet = slot.packet.data();
    let Ok(flow) = Flow::parse(packet, Direction::Outbound) else {
        end(path, Fate::Unreadable, None);
        return None;
    };
    let decided = match cache.get(&flow) {
        Some(decided) => decided,
        None => match view.judge(packet, &flow) {
            Verdict::Protect(sa) => remember(cache, &flow, |cache| Decided::Protect(cache.add(sa))),
            Verdict::ProtectError(sa) => Decided::Protect(cache.add(sa)),
            Verdict::Bypass => remember(cache, &flow, |_| Decided::Bypass),
            Verdict::Drop(Fate::Discarded) if !is_icmp(&flow) => {
                remember(cache, &flow, |_| Decided::Drop(Fate::Discarded))
            }
            Verdict::Clear(policy) => {
                send_clear(path, packet, &flow, slot.reassembled, Some(policy));
                return None;
            }
            Verdict::Drop(fate) => Decided::Drop(fate),
            Verdict::Hold { key, acquire } => {
                let held = path.hold.push(key, Instant::now(), packet);
                // Asked for after it was put there. And if the SA came in between, the driver has let go of everything
                // before this packet: it hears of this one, too.
                if acquire.is_some() || view.is_outdated() {
                    path.signals.raise(Signal::Acquire { policy: key.policy, flow, each: acquire == Some(true) });
                }
                end(path, if held { Fate::Held } else { Fate::HoldFull }, Some(&flow));
                return None;
            }
        },
    };
    match decided {
        Decided::Protect(index) => ready(view, cache, index, slot),
        Decided::Bypass => {
            send_clear(path, packet, &flow, slot.reassembled, None);
            None
        }
        Decided::Drop(fate) => {
            refuse(path, fate, &flow, slot.packet.data());
            None
        }
        // A whole packet whose flow is that of fragments: of a protocol without ports, so that they need not be whole.
        Decided::Whole => {
            end(path, Fate::BadFragment, Some(&flow));
            None
        }
    }
}

/// The SA of a packet, if it can be sealed for it.
#[inline]
pub(super) fn ready(view: &View<'_>, cache: &Cache, sa: SaIndex, slot: &mut Slot) -> Option<SaIndex> {
    cache.sa(sa).is_some_and(|sa| seal::ready(view.path, sa, slot)).then_some(sa)
}

fn remember(cache: &mut Cache, flow: &Flow, decided: impl FnOnce(&mut Cache) -> Decided) -> Decided {
    let decided = decided(cache);
    cache.insert(flow, decided);
    decided
}

/// What decides about those may be the packet they are about.
fn is_icmp(flow: &Flow) -> bool {
    matches!(flow.ports, cygnet_spd::Ports::Icmp { .. })
}

/// A packet without SA ends.
pub(super) fn end(path: &DataPath, fate: Fate, flow: Option<&Flow>) {
    path.counters.outbound(fate, 1);
    if fate.is_discard() {
        let event = AuditEvent { flow: flow.copied(), ..AuditEvent::new(Reason::Outbound(fate)) };
        path.audit.report(Instant::now(), event);
    }
}

/// A packet ends because policy lets it go nowhere. Its sender is told so if the administrator wants that
/// (RFC 4301 §5.1.1).
pub(super) fn refuse(path: &DataPath, fate: Fate, flow: &Flow, packet: &[u8]) {
    end(path, fate, Some(flow));
    if !fate.is_prohibited() || !path.tell_prohibited.load(Ordering::Relaxed) {
        return;
    }
    let mut buffer = [0; icmp::MAX_LEN];
    if let Ok(message) = icmp::prohibited(packet, &mut buffer)
        && path.prohibited.admits(Instant::now())
    {
        // Best effort, as all of ICMP.
        let _ = path.tun.write(0, message);
    }
}

/// Sends a packet as it is, without what follows its own length: because of a BYPASS policy, or because the SA of
/// `policy` is not there. It has found its end then.
pub(super) fn send_clear(path: &DataPath, packet: &[u8], flow: &Flow, reassembled: bool, policy: Option<PolicyId>) {
    let packet = Inner::parse(packet).and_then(|inner| packet.get(..inner.len)).unwrap_or(packet);
    let sent = if reassembled && packet.len() > path.mtu {
        send_cut(path, packet, flow)
    } else {
        send_piece(path, packet, flow)
    };
    let fate = match (sent, policy) {
        (Ok(()), None) => Fate::Bypassed,
        (Ok(()), Some(policy)) => {
            path.cleared.add(policy, packet.len(), Instant::now());
            Fate::Clear
        }
        (Err(_), _) => Fate::Unsent,
    };
    end(path, fate, Some(flow));
}

/// What was put together of fragments is cut again: into pieces as long as those that may come.
fn send_cut(path: &DataPath, packet: &[u8], flow: &Flow) -> io::Result<()> {
    /// Identification of cut IPv6 packets. RFC 7739 asks that it can't be guessed: whoever can see us send in the
    /// clear sees it anyway.
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (mut result, mut buffer) = (Ok(()), vec![0; path.mtu.min(MAX_PACKET)]);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let cut = fragments::cut(packet, path.mtu, id, &mut buffer, |piece| {
        if result.is_ok() {
            result = send_piece(path, piece, flow);
        }
    });
    cut.ok_or(io::ErrorKind::InvalidInput)?;
    result
}

fn send_piece(path: &DataPath, contents: &[u8], flow: &Flow) -> io::Result<()> {
    let sent = path.net.send(&Outgoing {
        datagrams: &[IoSlice::new(contents)],
        channel: Channel::Clear,
        local: (flow.local, 0).into(),
        remote: (flow.remote, 0).into(),
        traffic_class: 0,
        df: false,
    });
    sent.map_err(|unsent| unsent.error)
}
