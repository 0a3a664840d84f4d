//! Populate from packet: an SA per value (RFC 4301 §4.4.1.2), and peers that want one pair of addresses in each
//! (RFC 7296 §2.9).

use cygnet_ike::FailureCause;
use cygnet_ike::testing::Side;
use cygnet_ike::testing::scenario::{NET, selectors};
use cygnet_spd::{Direction, Flow, Pfp, Ports};

use super::*;

const HOSTS: Pfp =
    Pfp { local_address: true, remote_address: true, protocol: false, local_port: false, remote_port: false };

/// A packet between the `n`-th hosts, to TCP port 80.
fn flow(n: u8) -> Flow {
    Flow {
        direction: Direction::Outbound,
        local: [10, 1, 0, n].into(),
        remote: [10, 2, 0, n].into(),
        protocol: 6,
        ports: Ports::Pair { local: 40_000, remote: 80 },
    }
}

fn acquire(pair: &mut Pair, side: Side, flow: Flow) {
    pair.command(side, Command::Acquire { policy: NET, flow });
}

#[test]
fn each_pair_of_hosts_gets_its_own_sa() {
    let mut pair = psk(1, |side, scenario| {
        if side == Side::A {
            scenario.child.pfp = HOSTS;
        }
    });
    for n in [1, 2, 1, 3, 2] {
        acquire(&mut pair, Side::A, flow(n));
    }
    pair.run();
    acquire(&mut pair, Side::A, flow(3));
    pair.run();
    assert_eq!((pair.a.ike_sas().len(), pair.b.ike_sas().len()), (1, 1));
    let seen: Vec<_> = pair.a.children().into_iter().map(|child| (child.local_ts, child.remote_ts)).collect();
    let host = |n| (selectors(&[&format!("10.1.0.{n}/32")]), selectors(&[&format!("10.2.0.{n}/32")]));
    assert_eq!(seen, [host(1), host(2), host(3)]);
    assert_eq!(pair.b.children().len(), 3);
}

#[test]
fn ports_are_populated_where_flagged() {
    let mut pair = psk(2, |side, scenario| {
        if side == Side::A {
            scenario.child.pfp = Pfp { remote_port: true, ..Pfp::default() };
        }
    });
    for n in [1, 2] {
        acquire(&mut pair, Side::A, flow(n));
    }
    pair.run();
    let child = &pair.a.children()[0];
    assert_eq!(pair.a.children().len(), 1);
    assert_eq!(child.local_ts, selectors(&["10.1.0.0/16[tcp]"]));
    assert_eq!(child.remote_ts, selectors(&["10.2.0.0/16[tcp/80]"]));
    // What is in another fragment cannot be taken from this one.
    acquire(&mut pair, Side::A, Flow { ports: Ports::Opaque, ..flow(1) });
    pair.run();
    assert_eq!(pair.a.children().len(), 1);
}

#[test]
fn a_successor_has_what_its_predecessor_took() {
    for rekeyer in [Side::A, Side::B] {
        let mut pair = psk(3, |side, scenario| {
            if side == Side::A {
                scenario.child.pfp = HOSTS;
            }
        });
        for n in [1, 2] {
            acquire(&mut pair, Side::A, flow(n));
        }
        pair.run();
        let before: Vec<_> = pair.node(rekeyer).children();
        for child in &before {
            pair.command(rekeyer, Command::RekeyChild(child.id));
        }
        pair.run();
        pair.run_for(10 * SECOND);
        let sorted = |node: &Node| {
            let mut all: Vec<_> = node.children().into_iter().map(|c| (c.local_ts, c.remote_ts)).collect();
            all.sort_unstable();
            all
        };
        let host = |n| (selectors(&[&format!("10.1.0.{n}/32")]), selectors(&[&format!("10.2.0.{n}/32")]));
        assert_eq!(pair.a.children().len(), 2);
        assert_eq!(sorted(&pair.a), [host(1), host(2)]);
        assert!(failures(&pair.a).is_empty() && failures(&pair.b).is_empty());
    }
}

#[test]
fn a_responder_populates_from_the_packet_in_front() {
    let mut pair = psk(4, |side, scenario| {
        if side == Side::B {
            scenario.child.pfp = HOSTS;
        }
    });
    acquire(&mut pair, Side::A, flow(1));
    acquire(&mut pair, Side::A, flow(2));
    pair.run();
    acquire(&mut pair, Side::A, flow(2));
    pair.run();
    let host = |n| (selectors(&[&format!("10.1.0.{n}/32")]), selectors(&[&format!("10.2.0.{n}/32")]));
    let seen: Vec<_> = pair.a.children().into_iter().map(|child| (child.local_ts, child.remote_ts)).collect();
    assert_eq!(seen, [host(1), host(2)]);
}

#[test]
fn a_request_without_packet_is_told_to_name_one_pair() {
    let mut pair = psk(5, |side, scenario| {
        if side == Side::B {
            scenario.child.pfp = HOSTS;
        }
    });
    initiate(&mut pair, Side::A);
    let [failure] = failures(&pair.a)[..] else { panic!("{:#?}", pair.a.events) };
    assert_eq!(failure.cause, FailureCause::Selectors);
    assert!(failure.remedy.contains("traffic") && failures(&pair.b).is_empty());
    // A packet does.
    acquire(&mut pair, Side::A, flow(7));
    pair.run();
    assert_eq!(pair.a.children()[0].remote_ts, selectors(&["10.2.0.7/32"]));
}
