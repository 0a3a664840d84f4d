//! Make before break: no probe is lost, whoever starts.

use std::time::Duration;

use cygnet_ike::proposal::Protocol;
use cygnet_ike::testing::scenario::{Scenario, proposals};
use cygnet_ike::testing::{Faults, Side};
use cygnet_ike::{Command, DownReason, Event};

use super::*;

const SIDES: [Side; 2] = [Side::A, Side::B];

/// Probes all the time; lets `act` happen; asserts that nothing was lost.
fn under_traffic(pair: &mut Pair, act: impl FnOnce(&mut Pair)) {
    pair.traffic = Some(Duration::from_millis(5));
    pair.run_for(SECOND);
    act(pair);
    pair.run_for(10 * SECOND);
    pair.traffic = None;
    pair.run();
    pair.run_for(SECOND);
    assert_eq!(pair.probes_lost(), 0);
    assert!(pair.a.arrived.len() > 1000);
}

#[test]
fn a_child_is_rekeyed_without_loss() {
    for (initiator, rekeyer) in SIDES.into_iter().flat_map(|a| SIDES.map(|b| (a, b))) {
        let mut pair = tunnel(1, initiator, |_, _| {});
        let before = pair.a.children()[0].spi_in;
        under_traffic(&mut pair, |pair| {
            let child = pair.node(rekeyer).children()[0].id;
            pair.command(rekeyer, Command::RekeyChild(child));
        });
        assert_up(&mut pair);
        assert_ne!(pair.a.children()[0].spi_in, before);
        pair.run_for(60 * SECOND);
        assert_eq!((pair.a.installed(), pair.b.installed()), ((1, 1), (1, 1)));
        for node in [&pair.a, &pair.b] {
            assert!(node.events.iter().any(|event| matches!(event, Event::ChildRekeyed { .. })));
            assert_eq!(child_downs(node), []);
        }
    }
}

#[test]
fn a_rekeyed_child_is_used_before_any_traffic() {
    // Nobody sends: the Delete of the old pair is what shows the responder that the new one can be used.
    let mut pair = tunnel(2, Side::A, |_, _| {});
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::RekeyChild(child));
    pair.run();
    pair.run_for(60 * SECOND);
    assert_up(&mut pair);
}

#[test]
fn a_replaced_child_is_not_sent_on_when_its_successor_goes() {
    for (rekeyer, deleter) in SIDES.into_iter().flat_map(|a| SIDES.map(|b| (a, b))) {
        let mut pair = tunnel(2, Side::A, |_, _| {});
        let child = pair.node(rekeyer).children()[0].id;
        pair.command(rekeyer, Command::RekeyChild(child));
        pair.run_for(SECOND);
        let successor = pair.node(deleter).children()[0].id;
        pair.command(deleter, Command::DeleteChild(successor));
        pair.run_for(SECOND);
        assert_eq!((pair.a.children().len(), pair.b.children().len()), (0, 0));
        assert!(!pair.a.can_send(NET) && !pair.b.can_send(NET));
    }
}

#[test]
fn rekeying_with_forward_secrecy_agrees_on_a_group() {
    for rekeyer in SIDES {
        let mut pair = tunnel(3, Side::A, |side, scenario: &mut Scenario| {
            let groups = if side == Side::A { "x25519-ecp256" } else { "ecp256" };
            scenario.child.proposals = proposals(Protocol::Esp, &format!("aes128gcm16-{groups}"));
        });
        assert_eq!(pair.a.children()[0].group, None);
        under_traffic(&mut pair, |pair| {
            let child = pair.node(rekeyer).children()[0].id;
            pair.command(rekeyer, Command::RekeyChild(child));
        });
        assert_up(&mut pair);
        assert_eq!(pair.a.children()[0].group, Some(19));
    }
}

#[test]
fn the_ike_sa_is_rekeyed_without_loss_and_keeps_its_children() {
    for (initiator, rekeyer) in SIDES.into_iter().flat_map(|a| SIDES.map(|b| (a, b))) {
        let mut pair = tunnel(4, initiator, |_, _| {});
        let (ike, child) = (pair.a.ike_sas()[0].spi_i, pair.a.children()[0].spi_in);
        under_traffic(&mut pair, |pair| {
            let ike = the_ike(pair.node(rekeyer));
            pair.command(rekeyer, Command::RekeyIke(ike));
        });
        assert_up(&mut pair);
        assert_ne!(pair.a.ike_sas()[0].spi_i, ike);
        assert_eq!(pair.a.children()[0].spi_in, child);
        assert!(pair.node(rekeyer).ike_sas()[0].initiator);
        for node in [&pair.a, &pair.b] {
            assert_eq!(ike_downs(node), [DownReason::Rekeyed]);
        }
        // The successor works: it can rekey the child, and itself.
        let child = pair.b.children()[0].id;
        pair.command(Side::B, Command::RekeyChild(child));
        let ike = the_ike(&pair.a);
        pair.command(Side::A, Command::RekeyIke(ike));
        pair.run();
        pair.run_for(60 * SECOND);
        assert_up(&mut pair);
        assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (1, 1));
    }
}

#[test]
fn rekeys_from_both_sides_at_once_settle() {
    for seed in 0..20 {
        let mut pair = tunnel(seed, Side::A, |_, _| {});
        under_traffic(&mut pair, |pair| {
            for side in SIDES {
                let child = pair.node(side).children()[0].id;
                pair.command(side, Command::RekeyChild(child));
            }
            pair.run_for(10 * SECOND);
            for side in SIDES {
                let ike = the_ike(pair.node(side));
                pair.command(side, Command::RekeyIke(ike));
            }
            pair.run_for(30 * SECOND);
        });
        pair.run_for(60 * SECOND);
        assert_up(&mut pair);
        assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (1, 1), "seed {seed}");
    }
}

#[test]
fn lifetimes_start_rekeys_by_themselves() {
    let mut pair = psk(5, |_, scenario| {
        scenario.connection.rekey_time = Some(100 * SECOND);
        scenario.connection.rekey_jitter = 20 * SECOND;
        scenario.child.lifetime.rekey_time = Some(30 * SECOND);
        scenario.child.lifetime.rekey_jitter = 10 * SECOND;
        scenario.child.lifetime.life_time = Some(60 * SECOND);
    });
    pair.link.faults = Faults { loss: 0.05, ..Faults::NONE };
    initiate(&mut pair, Side::A);
    pair.run_for(1000 * SECOND);
    pair.link.faults = Faults::NONE;
    pair.run_for(30 * SECOND);
    assert_up(&mut pair);
    let rekeys = |node: &Node| node.events.iter().filter(|e| matches!(e, Event::ChildRekeyed { .. })).count();
    let ike_rekeys = |node: &Node| node.events.iter().filter(|e| matches!(e, Event::IkeRekeyed { .. })).count();
    assert!(rekeys(&pair.a) >= 30 && rekeys(&pair.b) >= 30);
    assert!(ike_rekeys(&pair.a) >= 8 && ike_rekeys(&pair.b) >= 8);
    assert_eq!((child_downs(&pair.a), child_downs(&pair.b)), (vec![], vec![]));
}

#[test]
fn a_child_that_cannot_be_rekeyed_expires() {
    let mut pair = tunnel(6, Side::A, |side, scenario| {
        scenario.child.lifetime.rekey_time = (side == Side::A).then_some(30 * SECOND);
        scenario.child.lifetime.life_time = (side == Side::A).then_some(120 * SECOND);
        // No common group: the first child needs none, its successor does.
        let group = if side == Side::A { "x25519" } else { "ecp256" };
        scenario.child.proposals = proposals(Protocol::Esp, &format!("aes128gcm16-{group}"));
    });
    pair.run_for(100 * SECOND);
    assert_up(&mut pair);
    assert!(!failures(&pair.a).is_empty() && !failures(&pair.b).is_empty());
    pair.run_for(60 * SECOND);
    assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
    assert_eq!(child_downs(&pair.a), [DownReason::Expired]);
    assert_eq!(pair.a.ike_sas().len(), 1);
}

#[test]
fn a_replaced_ike_sa_goes_even_if_the_peer_forgets_to_delete_it() {
    for silent in SIDES {
        let mut pair = tunnel(8, Side::A, |_, _| {});
        let ike = the_ike(&pair.a);
        pair.command(Side::A, Command::RekeyIke(ike));
        // The successor is there; the Delete does not get through for long.
        let rekeyed = |node: &Node| node.events.iter().any(|event| matches!(event, Event::IkeRekeyed { .. }));
        pair.run_until(10 * SECOND, |pair| rekeyed(pair.node(silent)));
        pair.link.cut = true;
        pair.run_for(200 * SECOND);
        assert!(pair.a.endpoint.footprint() <= 1 && pair.b.endpoint.footprint() <= 1);
    }
}

#[test]
fn a_successor_takes_the_command_that_meant_its_predecessor() {
    let mut pair = tunnel(7, Side::A, |_, _| {});
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::RekeyChild(child));
    pair.command(Side::A, Command::DeleteChild(child));
    pair.run();
    pair.run_for(60 * SECOND);
    assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
}
