//! Sealing the packets of one SA (RFC 4303 §3.3).

use std::time::Instant;

use cygnet_esp::tunnel::{DfRule, Inner};
use cygnet_esp::{NextHeader, icmp, transport};
use cygnet_sad::{OutboundDrop, OutboundSa, Usage};
use cygnet_spd::{Direction, Flow, Mode};

use super::Slot;
use super::train;
use crate::workers::DataPath;
use crate::workers::audit::{AuditEvent, Reason};

/// What every IPv6 link carries (RFC 8200 §5): a sender does not go below it.
const IPV6_MIN_MTU: usize = 1280;

/// Why a packet is not sealed.
enum Refused {
    Drop(OutboundDrop),
    /// It is longer than this, octets, and must not be fragmented.
    TooLong(usize),
}

impl From<OutboundDrop> for Refused {
    fn from(reason: OutboundDrop) -> Self {
        Self::Drop(reason)
    }
}

/// Makes a packet what ESP wraps, and fills in what the outer header takes from the inner one (RFC 4301 §5.1.2). If
/// it can't be sent, it has found its end, and `false` is returned.
pub(super) fn ready(path: &DataPath, sa: &OutboundSa, slot: &mut Slot) -> bool {
    let reason = match wrap(sa, slot) {
        Ok(()) => return true,
        Err(Refused::Drop(reason)) => reason,
        Err(Refused::TooLong(mtu)) => {
            // Once for a frame: the others of it have the same sender.
            if !slot.follows {
                tell_sender(path, slot.packet.data(), mtu);
            }
            OutboundDrop::TooBig
        }
    };
    // Unchanged, as all errors leave it.
    let flow = Flow::parse(slot.packet.data(), Direction::Outbound).ok();
    drop_packets(path, sa, reason, 1, flow);
    false
}

fn wrap(sa: &OutboundSa, slot: &mut Slot) -> Result<(), Refused> {
    let inner = Inner::parse(slot.packet.data()).ok_or(OutboundDrop::Malformed)?;
    let (rules, mtu) = (sa.pair().headers(), sa.inner_mtu());
    let outer = rules.outer(inner);
    let v6 = slot.packet.data().first().is_some_and(|first| first >> 4 == 6);
    let whole_only = inner.df && !slot.reassembled && rules.df != DfRule::Clear;
    let too_long = mtu.filter(|&mtu| inner.len > mtu);
    if let Some(mtu) = too_long.filter(|_| whole_only && !(v6 && inner.len <= IPV6_MIN_MTU)) {
        return Err(Refused::TooLong(mtu));
    }
    // What is too long all the same is fragmented on its way, after sealing.
    slot.df = outer.df && !slot.reassembled && too_long.is_none();
    (slot.traffic_class, slot.octets) = (outer.traffic_class(), inner.len);
    rules.mss.apply(slot.packet.data_mut(), mtu);
    match sa.pair().mode() {
        Mode::Tunnel => {
            slot.next = NextHeader::of_ip_packet(slot.packet.data()).ok_or(OutboundDrop::Malformed)?;
            slot.packet.truncate(inner.len);
        }
        Mode::Transport => slot.next = transport::encapsulate(&mut slot.packet).map_err(OutboundDrop::from)?.next,
    }
    Ok(())
}

/// Tells the sender of a packet how long those may be that reach the peer (RFC 4301 §8.2.1).
fn tell_sender(path: &DataPath, packet: &[u8], mtu: usize) {
    let mut buffer = [0; icmp::MAX_LEN];
    if let Ok(message) = icmp::packet_too_big(packet, mtu, &mut buffer)
        && path.too_big.admits(Instant::now())
    {
        // It may repeat its packet, and will be told again.
        let _ = path.tun.write(0, message);
    }
}

/// One reservation for all packets of an SA; packets of one size leave together, and after those of other threads that
/// reserved before.
pub(super) fn seal_and_send(path: &DataPath, sa: &OutboundSa, run: &mut [Slot]) {
    let count = u32::try_from(run.len()).unwrap_or(u32::MAX);
    let Ok((mut reservation, turn)) = sa.reserve(count) else {
        drop_packets(path, sa, OutboundDrop::Exhausted, u64::from(count), None);
        // RFC 4303 §3.3.3: this SA is spent, and IKE must replace it now if a soft limit did not before.
        path.tell(sa.pair(), Usage { hard: true, ..Usage::NOTHING });
        return;
    };
    for slot in &mut *run {
        let result = reservation.seal(slot.next, &mut slot.packet);
        slot.sealed = result.is_ok();
        if let Err(error) = result {
            drop_packets(path, sa, error.into(), 1, None);
        }
    }
    turn.wait();
    let sent = train::send_all(path, sa, &sa.path(), run);
    drop(turn);
    path.tell(sa.pair(), sa.count(Instant::now(), sent.packets, sent.octets));
}

/// Packets of an SA end.
pub(super) fn drop_packets(path: &DataPath, sa: &OutboundSa, reason: OutboundDrop, packets: u64, flow: Option<Flow>) {
    sa.count_drop(reason, packets);
    path.counters.outbound(reason.into(), packets);
    let (spi, pair, policy) = (sa.pair().outbound_spi(), sa.id(), sa.pair().policy());
    let event = AuditEvent::new(Reason::Outbound(reason.into()));
    let event = AuditEvent { flow, spi: Some(spi), pair: Some(pair), policy: Some(policy), ..event };
    path.audit.report(Instant::now(), event);
}
