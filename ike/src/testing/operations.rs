//! A list of operations on two nodes, read from octets: the body of the fuzz target `exchange`.

use std::time::Duration;

use super::link::{Faults, Kind, Packet};
use super::scenario::{NET, Scenario};
use super::{Pair, Side, at};
use crate::Command;

/// IKE SAs that one node may hold at most, whatever the other one and the network do.
const MAX_FOOTPRINT: usize = 64;

/// Most operations that are read.
const MAX_OPERATIONS: usize = 64;

/// Does what the octets say, two at a time, then heals the network: a tunnel must come up again and carry traffic.
/// [`Pair`] itself checks that nonces are fresh and repetitions exact.
///
/// # Panics
/// If a law is broken.
pub fn exchange(octets: &[u8]) {
    let bend = |s: &mut Scenario| {
        s.connection.dpd_delay = Some(Duration::from_secs(30));
        s.child.per_resource_sas = true;
        s.config.workers = 4;
    };
    let side = |side| Scenario::psk(side).with(bend).build();
    let mut pair = Pair::new(1, side(Side::A), side(Side::B));
    initiate(&mut pair, Side::A);
    for operation in octets.chunks_exact(2).take(MAX_OPERATIONS) {
        operate(&mut pair, operation[0], operation[1]);
        assert!(pair.a.endpoint.footprint().max(pair.b.endpoint.footprint()) <= MAX_FOOTPRINT);
    }
    pair.link.faults = Faults::NONE;
    pair.link.cut = false;
    pair.run_for(Duration::from_secs(600));
    initiate(&mut pair, Side::A);
    pair.run_for(Duration::from_secs(600));
    let open = pair.is_open(NET);
    assert!(open, "no tunnel after the network healed\nA: {:#?}\nB: {:#?}", pair.a.ike_sas(), pair.b.ike_sas());
}

fn initiate(pair: &mut Pair, side: Side) {
    pair.command(side, Command::Initiate { connection: "net".into(), child: None });
    pair.run();
}

fn operate(pair: &mut Pair, what: u8, how: u8) {
    let side = if how & 1 == 0 { Side::A } else { Side::B };
    let child = pair.node(side).children().first().map(|child| child.id);
    let ike = pair.node(side).ike_sas().first().map(|sa| sa.id);
    match (what % 11, child, ike) {
        (0, ..) => pair.command(side, Command::Initiate { connection: "net".into(), child: None }),
        (1, Some(child), _) => pair.command(side, Command::RekeyChild(child)),
        (2, _, Some(ike)) => pair.command(side, Command::RekeyIke(ike)),
        (3, Some(child), _) => pair.command(side, Command::DeleteChild(child)),
        (4, _, Some(ike)) => pair.command(side, Command::DeleteIke(ike)),
        (5, ..) => pair.link.faults = if how & 2 == 0 { Faults::ROUGH } else { Faults::NOISY },
        (6, ..) => pair.link.cut = how & 2 == 0,
        (7, ..) => replay(pair, side, what, how),
        (8, ..) => pair.restart(side),
        (9, Some(child), _) => pair.command(side, Command::AddResource { child, resource: u32::from(how >> 1 & 3) }),
        _ => pair.run_for(Duration::from_millis(u64::from(how) * 50)),
    }
    pair.run_for(Duration::from_millis(u64::from(how >> 4)));
}

/// Sends something that the other side once sent again, with one octet changed.
fn replay(pair: &mut Pair, side: Side, what: u8, how: u8) {
    let sent = &pair.node(side.other()).sent;
    let Some(mut bytes) = sent.get(usize::from(what / 10) % sent.len().max(1)).cloned() else { return };
    if let Some(octet) = bytes.get_mut(usize::from(how >> 1)) {
        *octet ^= how | 1;
    }
    let packet = Packet { from: at(side.other(), 4500), to: at(side, 4500), kind: Kind::Ike { marker: true }, bytes };
    pair.inject(side, packet);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn the_corpus_holds() {
        let corpus = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/exchange")).unwrap();
        let replayed = corpus.map(|entry| super::exchange(&std::fs::read(entry.unwrap().path()).unwrap())).count();
        assert!(replayed > 0, "the corpus is empty");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_healed_network_brings_the_tunnel_back(octets in prop::collection::vec(any::<u8>(), 0..96)) {
            super::exchange(&octets);
        }
    }
}
