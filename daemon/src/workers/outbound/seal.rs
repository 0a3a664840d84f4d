//! Sealing the packets of one SA (RFC 4303 §3.3).

use std::time::Instant;

use cygnet_esp::tunnel::Inner;
use cygnet_esp::{NextHeader, transport};
use cygnet_sad::{OutboundDrop, OutboundSa, Usage};
use cygnet_spd::Mode;

use super::train::{Sent, Train};
use super::{Fate, Slot};
use crate::net::Channel;
use crate::workers::DataPath;

/// Makes a packet what ESP wraps, and fills in what the outer header takes from the inner one (RFC 4301 §5.1.2).
///
/// # Errors
/// With the packet's end: it is counted by the SA.
pub(super) fn prepare(sa: &OutboundSa, slot: &mut Slot) -> Result<(), Fate> {
    wrap(sa, slot).map_err(|reason| {
        sa.count_drop(reason, 1);
        reason.into()
    })
}

fn wrap(sa: &OutboundSa, slot: &mut Slot) -> Result<(), OutboundDrop> {
    let packet = slot.packet.data();
    let inner = Inner::parse(packet).ok_or(OutboundDrop::Malformed)?;
    let outer = sa.pair().headers().outer(inner);
    (slot.traffic_class, slot.df, slot.octets) = (outer.traffic_class(), outer.df, inner.len);
    match sa.pair().mode() {
        Mode::Tunnel => {
            slot.next = NextHeader::of_ip_packet(packet).ok_or(OutboundDrop::Malformed)?;
            slot.packet.truncate(inner.len);
        }
        Mode::Transport => slot.next = transport::encapsulate(&mut slot.packet)?.next,
    }
    Ok(())
}

/// One reservation for all packets of an SA; packets of one size leave together.
pub(super) fn seal_and_send(path: &DataPath, train: &mut Train, sa: &OutboundSa, run: &mut [Slot]) {
    let count = u32::try_from(run.len()).unwrap_or(u32::MAX);
    let Ok(mut reservation) = sa.esp().reserve(count) else {
        drop_packets(path, sa, OutboundDrop::Exhausted, u64::from(count));
        // RFC 4303 §3.3.3: this SA is spent, and IKE must replace it now if a soft limit did not before.
        path.tell(sa.pair(), Usage { hard: true, ..Usage::NOTHING });
        return;
    };
    let outer = sa.path();
    let channel = if outer.udp_encapsulation { Channel::NatT } else { Channel::RawEsp };
    train.start(path.net.max_segments(channel));
    let mut sent = Sent::default();
    for slot in run {
        match reservation.seal(slot.next, &mut slot.packet) {
            Ok(()) => {
                if !train.fits(slot) {
                    train.send(path, sa, &outer, channel, &mut sent);
                }
                train.push(slot);
            }
            Err(error) => drop_packets(path, sa, error.into(), 1),
        }
    }
    train.send(path, sa, &outer, channel, &mut sent);
    path.tell(sa.pair(), sa.count(Instant::now(), sent.packets, sent.octets));
}

pub(super) fn drop_packets(path: &DataPath, sa: &OutboundSa, reason: OutboundDrop, packets: u64) {
    sa.count_drop(reason, packets);
    path.counters.outbound(reason.into(), packets);
}
