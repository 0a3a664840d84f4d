//! The gateway at one moment.

use cygnet_sad::PairStatus;

use super::Driver;
use crate::handle::{Status, Traffic};
use crate::install::child_id;

impl Driver {
    pub(super) fn status(&self) -> Status {
        let pairs = self.path.sad.statuses();
        let mut packets = self.path.counters.snapshot();
        packets.push(("signals.dropped", self.path.signals.dropped()));
        packets.push(("audit.suppressed", self.path.audit.suppressed()));
        packets.extend(self.path.net.counters());
        let fragments = self.path.fragments.counters();
        packets.extend([
            ("reassembly.completed", fragments.completed),
            ("reassembly.timed_out", fragments.timed_out),
            ("reassembly.overlapping", fragments.overlapping),
            ("reassembly.too_large", fragments.too_large),
            ("reassembly.no_room", fragments.no_room),
            ("reassembly.malformed", fragments.malformed),
        ]);
        Status {
            started: self.started,
            ike_sas: self.endpoint.ike_sas().collect(),
            traffic: pairs.iter().map(|status| (child_id(status.pair.id()), traffic(status))).collect(),
            packets,
            tun: self.path.tun.name().to_owned(),
            offloads: self.path.tun.offloads().all().chain(self.path.net.offloads()).collect(),
        }
    }
}

pub(super) fn traffic(status: &PairStatus) -> Traffic {
    let PairStatus { pair, inbound, outbound, .. } = status;
    Traffic {
        packets_in: inbound.packets,
        octets_in: inbound.octets,
        idle_in: inbound.last_used.map(|at| at.elapsed()),
        packets_out: outbound.packets,
        octets_out: outbound.octets,
        idle_out: outbound.last_used.map(|at| at.elapsed()),
        age: pair.installed().elapsed(),
    }
}
