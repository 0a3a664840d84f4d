//! Peers that go silent, restart, or come back.

use cygnet_ike::config::StartAction;
use cygnet_ike::testing::Side;
use cygnet_ike::testing::scenario::NET;
use cygnet_ike::{Command, DownReason, Event};

use super::*;

#[test]
fn a_silent_peer_is_noticed_and_comes_back() {
    let mut pair = tunnel(1, Side::A, |side, scenario| {
        scenario.connection.dpd_delay = Some(10 * SECOND);
        if side == Side::A {
            scenario.child.start = StartAction::Start;
        }
    });
    pair.run_for(60 * SECOND);
    assert_up(&mut pair);
    pair.link.cut = true;
    pair.run_for(90 * SECOND);
    assert_eq!(ike_downs(&pair.a).first(), Some(&DownReason::PeerUnreachable));
    assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
    assert!(pair.a.events.iter().any(|event| matches!(event, Event::Retransmitted { .. })));
    pair.link.cut = false;
    pair.run_for(90 * SECOND);
    assert_up(&mut pair);
}

#[test]
fn traffic_is_proof_of_life() {
    let mut pair = tunnel(2, Side::A, |_, scenario| scenario.connection.dpd_delay = Some(10 * SECOND));
    let before = pair.a.sent.len();
    let ike = the_ike(&pair.a);
    for _ in 0..20 {
        pair.run_for(5 * SECOND);
        pair.command(Side::A, Command::PeerAlive(ike));
        pair.probe(Side::A, NET);
        pair.probe(Side::B, NET);
    }
    assert_eq!(pair.a.sent.len(), before);
}

#[test]
fn a_restarted_initiator_replaces_what_it_forgot() {
    let mut pair = tunnel(3, Side::A, |side, scenario| {
        if side == Side::A {
            scenario.child.start = StartAction::Start;
        }
    });
    pair.run_for(10 * SECOND);
    pair.restart(Side::A);
    pair.run_for(30 * SECOND);
    assert_up(&mut pair);
    assert_eq!(ike_downs(&pair.b), [DownReason::PeerRestarted]);
    assert_eq!(pair.b.installed(), (1, 1));
}

#[test]
fn a_restarted_responder_is_noticed_and_dialled_again() {
    let mut pair = tunnel(4, Side::A, |side, scenario| {
        scenario.connection.dpd_delay = Some(5 * SECOND);
        if side == Side::A {
            scenario.child.start = StartAction::Start;
        }
    });
    pair.run_for(10 * SECOND);
    pair.restart(Side::B);
    pair.run_for(120 * SECOND);
    assert_up(&mut pair);
}

#[test]
fn start_children_come_up_and_stay_up() {
    let mut pair = psk(5, |_, scenario| {
        scenario.child.start = StartAction::Start;
        scenario.connection.dpd_delay = Some(5 * SECOND);
    });
    // Both sides initiate at once; what comes of it serves both.
    pair.run_for(30 * SECOND);
    assert!(pair.is_open(NET));
    for side in [Side::A, Side::B, Side::A] {
        pair.restart(side);
        pair.run_for(120 * SECOND);
        assert!(pair.is_open(NET), "\nA: {:#?}\nB: {:#?}", pair.a.ike_sas(), pair.b.ike_sas());
    }
    // A child that the operator takes down stays down, until it is wanted again.
    for ike in pair.a.ike_sas() {
        pair.command(Side::A, Command::DeleteIke(ike.id));
    }
    pair.run_for(SECOND / 2);
    assert_eq!(pair.a.children().len(), 0);
}

#[test]
fn a_child_taken_down_by_command_stays_down() {
    let mut pair = psk(6, |side, scenario| {
        if side == Side::A {
            scenario.child.start = StartAction::Start;
        }
    });
    pair.run_for(10 * SECOND);
    assert_up(&mut pair);
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::DeleteChild(child));
    pair.run_for(300 * SECOND);
    assert_eq!(pair.a.installed(), (0, 0));
    initiate(&mut pair, Side::A);
    assert_up(&mut pair);
    // One that the peer takes down does not.
    let child = pair.b.children()[0].id;
    pair.command(Side::B, Command::DeleteChild(child));
    pair.run_for(60 * SECOND);
    assert_up(&mut pair);
    // Nor one that ran out of bytes.
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::ExpireChild(child));
    pair.run_for(60 * SECOND);
    assert_up(&mut pair);
}

#[test]
fn attempts_go_on_with_growing_waits() {
    let mut pair = psk(7, |side, scenario| {
        if side == Side::A {
            scenario.child.start = StartAction::Start;
        }
    });
    pair.link.cut = true;
    pair.run_for(600 * SECOND);
    let attempts = failures(&pair.a).len();
    assert!((8..=30).contains(&attempts), "{attempts}");
    pair.link.cut = false;
    pair.run_for(60 * SECOND);
    assert_up(&mut pair);
}

#[test]
fn half_open_sas_are_forgotten() {
    let mut pair = psk(8, |_, _| {});
    pair.command(Side::A, Command::Initiate { connection: "net".into(), child: None });
    // The request arrives, the answer does not.
    pair.run_until(SECOND, |pair| pair.b.endpoint.footprint() > 0);
    pair.link.cut = true;
    pair.run_for(120 * SECOND);
    assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
}
