//! Up, traffic, down.

use cygnet_ike::proposal::Protocol;
use cygnet_ike::status::{ChildState, IkeState};
use cygnet_ike::testing::Side;
use cygnet_ike::testing::scenario::{NET, proposals, selectors};
use cygnet_ike::{Command, DownReason, Event, SessionKeys};
use cygnet_spd::{Direction, Flow, Ports};

use super::*;

#[test]
fn either_side_can_initiate_and_delete() {
    for (initiator, deleter) in [(Side::A, Side::A), (Side::A, Side::B), (Side::B, Side::A), (Side::B, Side::B)] {
        let mut pair = tunnel(1, initiator, |_, _| {});
        for node in [&pair.a, &pair.b] {
            let sa = node.ike_sas().remove(0);
            assert_eq!(sa.state, IkeState::Established);
            assert!(sa.remote_id.is_some() && sa.algorithms.is_some() && sa.established.is_some());
            assert_eq!(sa.children[0].state, ChildState::Installed);
            assert!(!sa.nat.local && !sa.nat.remote && !sa.path.marker);
        }
        let id = the_ike(pair.node(deleter));
        pair.command(deleter, Command::DeleteIke(id));
        pair.run();
        pair.run_for(60 * SECOND);
        assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
        assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
        assert_eq!(ike_downs(pair.node(deleter)), [DownReason::Command]);
        assert_eq!(ike_downs(pair.node(deleter.other())), [DownReason::PeerDeleted]);
        assert_eq!(child_downs(pair.node(deleter.other())), [DownReason::PeerDeleted]);
    }
}

#[test]
fn a_child_can_be_deleted_and_comes_again() {
    for side in [Side::A, Side::B] {
        let mut pair = tunnel(2, Side::A, |_, _| {});
        let child = pair.node(side).children()[0].id;
        pair.command(side, Command::DeleteChild(child));
        pair.run();
        assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
        assert_eq!(child_downs(pair.node(side)), [DownReason::Command]);
        assert_eq!(child_downs(pair.node(side.other())), [DownReason::PeerDeleted]);
        initiate(&mut pair, side);
        assert_up(&mut pair);
    }
}

#[test]
fn both_deletes_at_once_leave_nothing() {
    let mut pair = tunnel(3, Side::A, |_, _| {});
    for side in [Side::A, Side::B] {
        let child = pair.node(side).children()[0].id;
        pair.command(side, Command::DeleteChild(child));
    }
    pair.run();
    assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
    for side in [Side::A, Side::B] {
        let ike = the_ike(pair.node(side));
        pair.command(side, Command::DeleteIke(ike));
    }
    pair.run_for(60 * SECOND);
    assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
}

#[test]
fn algorithms_are_negotiated() {
    let suites = [
        ("aes256gcm16-prfsha384-ecp256", "aes256gcm16-esn", true),
        ("chacha20poly1305-prfsha512-ecp384", "chacha20poly1305", false),
        ("aes128-sha256-x25519", "aes256-sha512-esn-noesn", true),
        ("aes128gcm16-prfsha256-modp2048", "aes192gcm16-noesn", false),
    ];
    for (ike, esp, esn) in suites {
        let pair = tunnel(4, Side::A, |_, scenario| {
            scenario.connection.proposals = proposals(Protocol::Ike, ike);
            scenario.child.proposals = proposals(Protocol::Esp, esp);
        });
        assert_eq!(pair.a.children()[0].esn, esn, "{esp}");
    }
}

#[test]
fn another_group_is_asked_for() {
    let pair = tunnel(5, Side::A, |side, scenario| {
        let groups = if side == Side::A { "x25519-ecp256" } else { "ecp256" };
        scenario.connection.proposals = proposals(Protocol::Ike, &format!("aes128gcm16-prfsha256-{groups}"));
    });
    assert_eq!(pair.a.ike_sas()[0].algorithms.unwrap().group, 19);
}

#[test]
fn cookies_are_asked_for_under_load() {
    for groups in ["x25519", "ecp256"] {
        let mut pair = psk(6, |side, scenario| {
            scenario.config.cookie_threshold = 0;
            let groups = if side == Side::A { "x25519-ecp256" } else { groups };
            scenario.connection.proposals = proposals(Protocol::Ike, &format!("aes128gcm16-prfsha256-{groups}"));
        });
        initiate(&mut pair, Side::A);
        assert_up(&mut pair);
    }
}

#[test]
fn selectors_are_narrowed_in_both_roles() {
    for initiator in [Side::A, Side::B] {
        let pair = tunnel(7, initiator, |side, scenario| {
            if side == Side::A {
                scenario.child.local_ts = selectors(&["10.1.0.0/16", "10.9.0.0/16"]);
                scenario.child.remote_ts = selectors(&["0.0.0.0/0"]);
            }
        });
        let child = pair.a.children().remove(0);
        assert_eq!((child.local_ts, child.remote_ts), (selectors(&["10.1.0.0/16"]), selectors(&["10.2.0.0/16"])));
    }
}

#[test]
fn a_packet_brings_its_child_up() {
    let mut pair = psk(8, |_, _| {});
    let flow = Flow {
        direction: Direction::Outbound,
        local: "10.1.0.1".parse().unwrap(),
        remote: "10.2.0.1".parse().unwrap(),
        protocol: 6,
        ports: Ports::Pair { local: 40_000, remote: 80 },
    };
    for _ in 0..3 {
        pair.command(Side::A, Command::Acquire { policy: NET, flow });
    }
    pair.run();
    assert_up(&mut pair);
    assert_eq!(pair.a.children()[0].local_ts, selectors(&["10.1.0.0/16"]));
    // One that was late finds the child there.
    pair.command(Side::A, Command::Acquire { policy: NET, flow });
    pair.run();
    assert_up(&mut pair);
}

#[test]
fn a_second_initiate_reports_the_child_once_more() {
    let mut pair = tunnel(9, Side::A, |_, _| {});
    let ups = |pair: &Pair| pair.a.events.iter().filter(|event| matches!(event, Event::ChildUp(_))).count();
    assert_eq!(ups(&pair), 1);
    initiate(&mut pair, Side::A);
    assert_eq!((ups(&pair), pair.a.children().len()), (2, 1));
}

#[test]
fn session_keys_are_reported_on_request_and_agree() {
    let pair = tunnel(10, Side::A, |_, scenario| scenario.config.report_keys = true);
    let ike = |node: &cygnet_ike::testing::Node| {
        let keys = node.events.iter().find_map(|event| match event {
            Event::Keys(SessionKeys::Ike { spi_i, spi_r, sk_ei, sk_er, .. }) => {
                Some((*spi_i, *spi_r, sk_ei.expose().to_vec(), sk_er.expose().to_vec()))
            }
            _ => None,
        });
        keys.expect("keys are reported")
    };
    assert_eq!(ike(&pair.a), ike(&pair.b));
    let esp = |node: &cygnet_ike::testing::Node, sent: bool| {
        let keys = node.events.iter().find_map(|event| match event {
            Event::Keys(SessionKeys::Esp { outbound, spi, encr_key, .. }) if *outbound == sent => {
                Some((*spi, encr_key.expose().to_vec()))
            }
            _ => None,
        });
        keys.expect("keys are reported")
    };
    assert_eq!(esp(&pair.a, true), esp(&pair.b, false));
    assert_eq!(esp(&pair.a, false), esp(&pair.b, true));
    let quiet = tunnel(10, Side::A, |_, _| {});
    assert!(!quiet.a.events.iter().any(|event| matches!(event, Event::Keys(_))));
}

#[test]
fn a_shutdown_tells_the_peer() {
    let mut pair = tunnel(11, Side::A, |_, _| {});
    pair.command(Side::A, Command::Shutdown);
    pair.run();
    pair.run_for(60 * SECOND);
    assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
    assert_eq!(ike_downs(&pair.b), [DownReason::PeerDeleted]);
    initiate(&mut pair, Side::A);
    assert_eq!(pair.a.endpoint.footprint(), 0);
}
