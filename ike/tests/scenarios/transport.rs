//! Transport mode: asked for, declined, refused; between the hosts of the path, through NATs too (RFC 7296 §1.3.1,
//! §2.23.1).

use std::net::IpAddr;

use cygnet_ike::FailureCause;
use cygnet_ike::testing::scenario::{NET, selectors};
use cygnet_ike::testing::{Nat, Side, address};
use cygnet_spd::{AddrRange, Mode, TrafficSelector};

use super::*;

const SIDES: [Side; 2] = [Side::A, Side::B];

/// All traffic of the two, and of what is near.
fn between_hosts(scenario: &mut Scenario) {
    scenario.child.mode = Mode::Transport;
    scenario.child.local_ts = selectors(&["0.0.0.0/0"]);
    scenario.child.remote_ts = selectors(&["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]);
}

fn hosts(side: Side) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
    let host = |index| vec![TrafficSelector::any(AddrRange::host(address(index)))];
    match side {
        Side::A => (host(0), host(1)),
        Side::B => (host(1), host(0)),
    }
}

#[track_caller]
fn assert_transport(pair: &mut Pair) {
    assert_up(pair);
    for node in [&pair.a, &pair.b] {
        assert_eq!(node.children()[0].mode, Mode::Transport);
    }
}

#[test]
fn the_hosts_are_what_is_left_of_the_networks() {
    for initiator in SIDES {
        let mut pair = tunnel(1, initiator, |_, scenario| between_hosts(scenario));
        assert_transport(&mut pair);
        for side in SIDES {
            let child = pair.node(side).children().remove(0);
            assert_eq!((child.local_ts, child.remote_ts), hosts(side));
            assert!(pair.node(side).originals.is_empty());
        }
    }
}

#[test]
fn protocols_and_ports_stay() {
    let pair = tunnel(2, Side::A, |side, scenario| {
        between_hosts(scenario);
        let web = selectors(&["192.0.2.0/24[tcp/80-443]", "192.0.2.0/24[udp/53]"]);
        match side {
            Side::A => scenario.child.remote_ts = web,
            Side::B => scenario.child.local_ts = web,
        }
    });
    assert_eq!(pair.a.children()[0].remote_ts, selectors(&["192.0.2.2/32[tcp/80-443]", "192.0.2.2/32[udp/53]"]));
}

#[test]
fn a_rekeyed_child_keeps_its_mode_and_so_does_another_one() {
    for (initiator, rekeyer) in SIDES.into_iter().flat_map(|a| SIDES.map(|b| (a, b))) {
        let mut pair = tunnel(3, initiator, |_, scenario| between_hosts(scenario));
        let before = pair.a.children()[0].spi_in;
        let (ike, child) = (the_ike(pair.node(rekeyer)), pair.node(rekeyer).children()[0].id);
        pair.command(rekeyer, Command::RekeyChild(child));
        pair.run();
        pair.run_for(10 * SECOND);
        assert_transport(&mut pair);
        assert_ne!(pair.a.children()[0].spi_in, before);
        pair.command(rekeyer, Command::RekeyIke(ike));
        pair.run();
        pair.run_for(10 * SECOND);
        let child = pair.node(rekeyer).children()[0].id;
        pair.command(rekeyer, Command::DeleteChild(child));
        pair.run();
        assert_eq!(pair.a.children().len(), 0);
        // On the IKE SA that is there: CREATE_CHILD_SA.
        initiate(&mut pair, rekeyer);
        assert_transport(&mut pair);
    }
}

#[test]
fn a_responder_that_answers_in_tunnel_mode_is_told_that_this_will_not_do() {
    for initiator in SIDES {
        let mut pair = psk(4, |side, scenario| {
            between_hosts(scenario);
            if side != initiator {
                scenario.child.mode = Mode::Tunnel;
            }
        });
        for _ in 0..2 {
            // First in IKE_AUTH, then in CREATE_CHILD_SA.
            initiate(&mut pair, initiator);
            pair.run_for(10 * SECOND);
            assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
            assert_eq!((pair.a.ike_sas().len(), pair.b.ike_sas().len()), (1, 1));
        }
        for node in [&pair.a, &pair.b] {
            let failures = failures(node);
            assert_eq!(failures.len(), 2, "{failures:#?}");
            assert!(failures.iter().all(|failure| failure.cause == FailureCause::Mode));
            assert!(failures[0].remedy.contains("mode") && !failures[0].offered.is_empty());
        }
    }
}

#[test]
fn a_child_in_transport_mode_is_not_for_tunnel_mode() {
    for initiator in SIDES {
        let mut pair = psk(5, |side, scenario| {
            between_hosts(scenario);
            if side == initiator {
                scenario.child.mode = Mode::Tunnel;
            }
        });
        initiate(&mut pair, initiator);
        assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
        assert_eq!(failures(pair.node(initiator))[0].cause, FailureCause::NoProposal);
        assert_eq!(failures(pair.node(initiator.other()))[0].cause, FailureCause::Mode);
        assert!(failures(pair.node(initiator))[0].remedy.contains("mode"));
    }
}

#[test]
fn hosts_that_are_not_meant_are_not_asked_for() {
    let mut pair = psk(6, |side, scenario| {
        between_hosts(scenario);
        if side == Side::A {
            scenario.child.remote_ts = selectors(&["203.0.113.0/24"]);
        }
    });
    initiate(&mut pair, Side::A);
    pair.run_for(60 * SECOND);
    assert_eq!(failures(&pair.a)[0].cause, FailureCause::Selectors);
    assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
    initiate(&mut pair, Side::B);
    assert_eq!(failures(&pair.a)[1].cause, FailureCause::Selectors);
    assert_eq!(failures(&pair.b)[0].cause, FailureCause::Selectors);
}

const OUTSIDE: [&str; 2] = ["198.51.100.7", "203.0.113.9"];

fn outside(side: Side) -> IpAddr {
    OUTSIDE[usize::from(side == Side::B)].parse().unwrap()
}

/// `natted` hosts are behind a NAT each, where the other side can reach them.
fn behind_nats(seed: u64, natted: &[Side], bend: impl Fn(Side, &mut Scenario)) -> Pair {
    let mut pair = psk(seed, |side, scenario| {
        between_hosts(scenario);
        if natted.contains(&side.other()) {
            scenario.connection.remote_addrs = vec![AddrRange::host(outside(side.other()))];
        }
        bend(side, scenario);
    });
    let nat = |side: Side| Nat::forwarding(address(usize::from(side == Side::B)), outside(side));
    let mut nats = natted.iter().map(|side| nat(*side));
    (pair.link.nat, pair.link.other_nat) = (nats.next(), nats.next());
    pair
}

/// Both sides' selectors are in their own terms, and the addresses before translation in the peer's.
#[track_caller]
fn assert_translated(pair: &mut Pair, natted: &[Side], ports: [&str; 2]) {
    assert!(pair.is_open(NET), "\nA: {:#?}\nB: {:#?}", pair.a.events, pair.b.events);
    for side in SIDES {
        let node = pair.node(side);
        let [child] = &node.children()[..] else { panic!("one child expected: {:#?}", node.children()) };
        let (own, peer) = (usize::from(side == Side::B), usize::from(side == Side::A));
        let seen = |of: Side| match natted.contains(&of) {
            true => outside(of),
            false => address(usize::from(of == Side::B)),
        };
        assert_eq!(child.mode, Mode::Transport);
        assert_eq!(child.local_ts, selectors(&[&format!("{}/32{}", address(own), ports[own])]));
        assert_eq!(child.remote_ts, selectors(&[&format!("{}/32{}", seen(side.other()), ports[peer])]));
        assert!(child.udp_encapsulation);
        assert_eq!(node.originals.get(&child.id), Some(&(seen(side), address(peer))), "{side:?}");
    }
}

#[test]
fn addresses_are_substituted_behind_one_nat_or_two() {
    for natted in [&[Side::A][..], &[Side::B], &[Side::A, Side::B]] {
        for initiator in SIDES {
            let mut pair = behind_nats(7, natted, |_, _| {});
            initiate(&mut pair, initiator);
            assert_translated(&mut pair, natted, ["", ""]);
            for rekeyer in SIDES {
                let child = pair.node(rekeyer).children()[0].id;
                pair.command(rekeyer, Command::RekeyChild(child));
                pair.run();
                pair.run_for(10 * SECOND);
                assert_translated(&mut pair, natted, ["", ""]);
                let ike = the_ike(pair.node(rekeyer));
                pair.command(rekeyer, Command::RekeyIke(ike));
                pair.run();
                pair.run_for(10 * SECOND);
                assert_translated(&mut pair, natted, ["", ""]);
            }
            assert!(failures(&pair.a).is_empty() && failures(&pair.b).is_empty());
        }
    }
}

#[test]
fn ports_survive_the_substitution() {
    let ports = ["[tcp/1024-65535]", "[tcp/80]"];
    for initiator in SIDES {
        let natted = [Side::A, Side::B];
        let mut pair = behind_nats(8, &natted, |side, scenario| {
            let (own, peer) = (usize::from(side == Side::B), usize::from(side == Side::A));
            scenario.child.local_ts = selectors(&[&format!("0.0.0.0/0{}", ports[own])]);
            scenario.child.remote_ts = selectors(&[&format!("0.0.0.0/0{}", ports[peer])]);
        });
        initiate(&mut pair, initiator);
        assert_translated(&mut pair, &natted, ports);
    }
}

#[test]
fn several_selectors_are_substituted_together() {
    let web = ["0.0.0.0/0[tcp/80]", "0.0.0.0/0[tcp/443]", "0.0.0.0/0[udp/53]"];
    for initiator in SIDES {
        let mut pair = behind_nats(9, &[Side::A], |side, scenario| match side {
            Side::A => scenario.child.local_ts = selectors(&web),
            Side::B => scenario.child.remote_ts = selectors(&web),
        });
        initiate(&mut pair, initiator);
        let at = |host: &str| -> Vec<TrafficSelector> {
            web.iter().flat_map(|text| selectors(&[&text.replace("0.0.0.0/0", host)])).collect()
        };
        assert_eq!(pair.a.children()[0].local_ts, at("192.0.2.1/32"));
        assert_eq!(pair.b.children()[0].remote_ts, at("198.51.100.7/32"));
        assert_eq!(pair.b.originals.values().next(), Some(&(address(1), address(0))));
    }
}

#[test]
fn a_tunnel_is_what_a_request_for_transport_mode_gets_by_its_own_addresses() {
    // RFC 7296 §2.23.1: where only tunnel mode is configured, the addresses are those that were sent.
    let mut pair = behind_nats(10, &[Side::A], |side, scenario| {
        if side == Side::B {
            scenario.child.mode = Mode::Tunnel;
            scenario.child.remote_ts = selectors(&["192.0.2.1/32"]);
        }
    });
    pair.command(Side::A, Command::Initiate { connection: "net".into(), child: None });
    assert!(pair.run_until(SECOND, |pair| !pair.b.children().is_empty()));
    let child = pair.b.children().remove(0);
    assert_eq!((child.mode, child.remote_ts), (Mode::Tunnel, selectors(&["192.0.2.1/32"])));
    pair.run_for(10 * SECOND);
    assert_eq!(pair.b.installed(), (0, 0));
}

#[test]
fn selectors_follow_when_the_nat_changes_its_address() {
    let mut pair = behind_nats(11, &[Side::A], |side, scenario| {
        if side == Side::B {
            scenario.connection.remote_addrs.clear();
        }
    });
    initiate(&mut pair, Side::A);
    assert_translated(&mut pair, &[Side::A], ["", ""]);
    let moved: IpAddr = "198.51.100.99".parse().unwrap();
    pair.link.nat.as_mut().unwrap().move_to(moved);
    let ike = the_ike(&pair.a);
    // Any request will do; this one asks nothing of the child.
    pair.command(Side::A, Command::RekeyIke(ike));
    pair.run();
    pair.run_for(10 * SECOND);
    let (a, b) = (pair.a.children(), pair.b.children());
    assert_eq!((a.len(), b.len()), (1, 1));
    assert_eq!(b[0].remote_ts, vec![TrafficSelector::any(AddrRange::host(moved))]);
    assert_eq!(pair.a.originals.get(&a[0].id), Some(&(moved, address(1))));
    assert!(pair.is_open(NET));
    // To where nobody is meant, nothing follows.
    pair.link.nat.as_mut().unwrap().move_to("10.9.9.9".parse().unwrap());
    let ike = the_ike(&pair.a);
    pair.command(Side::A, Command::RekeyIke(ike));
    pair.run();
    pair.run_for(10 * SECOND);
    assert_eq!((pair.a.children().len(), pair.b.children().len()), (0, 0));
    assert_eq!(failures(&pair.b).last().map(|failure| failure.cause), Some(FailureCause::Selectors));
}
