//! What the demonstration prints.

use std::time::Duration;

use cygnet_ike::Failure;
use cygnet_ike::crypto::registry::{Transform, keyword};
use cygnet_ike::identity::Identity;
use cygnet_ike::message::numbers::TransformType;
use cygnet_ike::status::{ChildStatus, IkeStatus};
use cygnet_spd::TrafficSelector;

use super::Side;
use crate::handle::{Status, Traffic};

/// Progress.
pub(super) fn step(what: &str) {
    println!("- {what}");
}

/// A failed negotiation.
pub(super) fn failure(side: Side, failure: &Failure) {
    println!("  host {}: {:?}; offered {}; wanted {}", side.letter(), failure.cause, failure.offered, failure.wanted);
    println!("    {}", failure.remedy);
}

/// Round-trip times.
pub(super) fn pings(trips: &[Duration]) {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let total: Duration = trips.iter().sum();
    let mean = total / u32::try_from(trips.len().max(1)).unwrap_or(u32::MAX);
    let (least, most) = (trips.iter().min().copied(), trips.iter().max().copied());
    let (least, most) = (millis(least.unwrap_or_default()), millis(most.unwrap_or_default()));
    println!("  {} answers; round trip min/avg/max {least:.2}/{:.2}/{most:.2} ms", trips.len(), millis(mean));
}

/// Throughput in megabits per second.
pub(super) fn throughput(up: f64, down: f64) {
    println!("  a to b {up:.0} Mbit/s, b to a {down:.0} Mbit/s");
}

/// Everything that one side knows.
pub(super) fn side(side: Side, status: &Status) {
    println!("Host {}, {}:", side.letter(), side.name());
    for sa in &status.ike_sas {
        ike(sa);
        for sa in &sa.children {
            child(sa, status.traffic(sa.id));
        }
    }
    let busy = status.packets.iter().filter(|(_, count)| *count > 0);
    let counters: Vec<_> = busy.map(|(name, count)| format!("{name} {count}")).collect();
    println!("  packets: {}", counters.join(", "));
}

fn ike(sa: &IkeStatus) {
    let id = |id: &Option<Identity>| id.as_ref().map_or("?".to_owned(), ToString::to_string);
    let role = if sa.initiator { "initiator" } else { "responder" };
    println!(
        "  IKE SA {} ({role}): {} [{}] <=> {} [{}]",
        sa.id.0,
        sa.path.local,
        id(&sa.local_id),
        sa.path.remote,
        id(&sa.remote_id)
    );
    if let Some(algorithms) = &sa.algorithms {
        let name = |transform| keyword(transform).unwrap_or("?");
        let encr = algorithms.encr;
        let (prf, group) = (
            name(Transform::new(TransformType::PRF, algorithms.prf)),
            name(Transform::new(TransformType::KE, algorithms.group)),
        );
        println!(
            "    {}{} / {prf} / {group}",
            encr.name,
            encr.integ_name.map(|name| format!("-{name}")).unwrap_or_default()
        );
    }
}

fn child(sa: &ChildStatus, traffic: Traffic) {
    let list = |ts: &[TrafficSelector]| ts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let (how, esn) = (if sa.udp_encapsulation { "ESP in UDP" } else { "ESP" }, if sa.esn { ", ESN" } else { "" });
    println!("    Child SA {}: {} === {}, tunnel mode, {how}", sa.id.0, list(&sa.local_ts), list(&sa.remote_ts));
    println!("      {}{esn}; SPIs {} in, {} out", sa.encr, sa.spi_in, sa.spi_out);
    println!(
        "      {} packets, {} octets in; {} packets, {} octets out",
        traffic.packets_in, traffic.octets_in, traffic.packets_out, traffic.octets_out
    );
}
