//! Network address translators, real and pretended (RFC 7296 §2.23).

use cygnet_ike::testing::scenario::NET;
use cygnet_ike::testing::{Nat, Side};
use cygnet_ike::{Command, Event};
use cygnet_spd::AddrRange;

use super::*;

/// A behind a NAT.
fn behind_nat(seed: u64) -> Pair {
    let mut pair = psk(seed, |side, scenario| {
        if side == Side::B {
            scenario.connection.remote_addrs = vec![AddrRange::ANY_V4];
        }
    });
    pair.link.nat = Some(Nat::new(pair.a.address, "198.51.100.7".parse().unwrap()));
    pair
}

#[test]
fn a_nat_is_found_and_the_port_floats() {
    let mut pair = behind_nat(1);
    initiate(&mut pair, Side::A);
    assert_up(&mut pair);
    let (a, b) = (pair.a.ike_sas().remove(0), pair.b.ike_sas().remove(0));
    assert!(a.nat.local && !a.nat.remote && !a.nat.faked);
    assert!(!b.nat.local && b.nat.remote && !b.nat.faked);
    assert!(a.path.marker && b.path.marker);
    assert_eq!((a.path.local.port(), a.path.remote.port(), b.path.local.port()), (4500, 4500, 4500));
    assert!(a.children[0].udp_encapsulation && b.children[0].udp_encapsulation);
}

#[test]
fn the_mapping_is_kept_alive_and_followed_when_it_changes() {
    let mut pair = behind_nat(2);
    initiate(&mut pair, Side::A);
    pair.run_for(100 * SECOND);
    assert_up(&mut pair);
    pair.link.nat.as_mut().unwrap().rebind();
    // Any authentic request shows the new mapping.
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::RekeyChild(child));
    pair.run();
    pair.run_for(10 * SECOND);
    assert_up(&mut pair);
    assert!(pair.is_open(NET));
}

#[test]
fn encapsulation_can_be_forced_by_either_side() {
    for (initiator, forcer) in [(Side::A, Side::A), (Side::A, Side::B), (Side::B, Side::A)] {
        let mut pair = tunnel(3, initiator, |side, scenario| {
            if side == forcer {
                scenario.connection.force_encap = true;
            }
        });
        for node in [&pair.a, &pair.b] {
            let sa = node.ike_sas().remove(0);
            assert!(sa.children[0].udp_encapsulation && sa.path.marker);
        }
        assert!(pair.node(forcer).ike_sas()[0].nat.faked);
        assert!(pair.node(forcer.other()).ike_sas()[0].nat.remote);
        let ike = the_ike(&pair.b);
        pair.command(Side::B, Command::RekeyIke(ike));
        pair.run();
        pair.run_for(10 * SECOND);
        assert_up(&mut pair);
    }
}

#[test]
fn without_raw_esp_encapsulation_is_always_asked_for() {
    let pair = tunnel(4, Side::A, |_, scenario| scenario.config.raw_esp = false);
    assert!(pair.a.children()[0].udp_encapsulation && pair.b.children()[0].udp_encapsulation);
}

#[test]
fn the_route_may_choose_our_address() {
    let pair = tunnel(5, Side::A, |_, scenario| scenario.connection.local_addrs.clear());
    assert_eq!(pair.a.ike_sas()[0].path.local.ip(), pair.a.address);
    assert!(!pair.a.events.iter().any(|event| matches!(event, Event::Failed(_))));
}

#[test]
fn an_initiator_that_does_not_know_its_address_agrees_with_the_peer_on_encapsulation() {
    // The peer compares what it sees with an address that we could not name (RFC 7296 §2.23).
    let pair = tunnel(6, Side::A, |_, scenario| scenario.connection.local_addrs.clear());
    let (a, b) = (pair.a.ike_sas().remove(0), pair.b.ike_sas().remove(0));
    assert_eq!(a.children[0].udp_encapsulation, b.children[0].udp_encapsulation);
    assert_eq!((a.path.marker, a.path.remote.port()), (b.path.marker, b.path.local.port()));
    assert!(a.path.marker || !a.children[0].udp_encapsulation);
}
