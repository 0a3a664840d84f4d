//! One child for a whole network: an SA with each peer that traffic goes to, or that starts one itself.

use std::net::IpAddr;
use std::sync::Arc;

use cygnet_ike::FailureCause;
use cygnet_ike::config::StartAction;
use cygnet_ike::identity::IdPattern;
use cygnet_ike::limits::{DIALLING, DIALLING_PATIENCE};
use cygnet_ike::testing::scenario::{NET, selectors};
use cygnet_ike::testing::{Side, address};
use cygnet_spd::{AddrRange, Direction, Flow, Mode, Ports, TrafficSelector};

use super::*;

/// A second address of B, where it is somebody else.
const CAROL: &str = "192.0.2.3";

fn all_of_the_network(scenario: &mut Scenario) {
    scenario.child.mode = Mode::Transport;
    scenario.child.start = StartAction::Trap;
    for ts in [&mut scenario.child.local_ts, &mut scenario.child.remote_ts] {
        *ts = selectors(&["192.0.0.0/8", "10.0.0.0/8"]);
    }
    scenario.connection.remote_addrs = vec!["192.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    scenario.connection.peer.id = IdPattern::Any;
}

/// B is two hosts, of two names.
fn network(seed: u64) -> Pair {
    let mut pair = psk(seed, |side, scenario| {
        all_of_the_network(scenario);
        if side == Side::B {
            let mut carol = scenario.connection.clone();
            carol.name = "carol".to_owned();
            carol.local_addrs = vec![CAROL.parse().unwrap()];
            carol.local.id = "carol.example".parse().unwrap();
            carol.children = vec![Arc::new(scenario.child.clone())];
            scenario.config.connections.push(Arc::new(carol));
        }
    });
    pair.b.also.push(CAROL.parse().unwrap());
    pair
}

fn flow(from: Side, to: IpAddr) -> Flow {
    let local = address(usize::from(from == Side::B));
    let ports = Ports::Pair { local: 40_000, remote: 80 };
    Flow { direction: Direction::Outbound, local, remote: to, protocol: 6, ports }
}

fn traffic(pair: &mut Pair, from: Side, to: IpAddr) {
    pair.command(from, Command::Acquire { policy: NET, flow: flow(from, to) });
}

fn peers(node: &Node) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = node.ike_sas().iter().map(|sa| sa.path.remote.ip()).collect();
    all.sort_unstable();
    all
}

#[test]
fn each_peer_gets_its_own_sa() {
    let mut pair = network(1);
    let (bob, carol): (IpAddr, IpAddr) = (address(1), CAROL.parse().unwrap());
    for to in [bob, carol, bob, carol] {
        traffic(&mut pair, Side::A, to);
    }
    pair.run();
    for to in [bob, carol, bob] {
        traffic(&mut pair, Side::A, to);
    }
    pair.run();
    assert_eq!(peers(&pair.a), [bob, carol]);
    for sa in pair.a.ike_sas() {
        let [child] = &sa.children[..] else { panic!("one child expected: {sa:#?}") };
        assert_eq!(child.remote_ts, [TrafficSelector::any(AddrRange::host(sa.path.remote.ip()))]);
        assert_eq!(child.local_ts, [TrafficSelector::any(AddrRange::host(address(0)))]);
    }
    assert_eq!(pair.b.children().len(), 2);
    // One goes, the other stays; traffic brings it back.
    let first = pair.a.ike_sas().remove(0).id;
    pair.command(Side::A, Command::DeleteIke(first));
    pair.run();
    pair.run_for(60 * SECOND);
    assert_eq!((peers(&pair.a), pair.b.children().len()), (vec![carol], 1));
    traffic(&mut pair, Side::A, bob);
    pair.run();
    assert_eq!((peers(&pair.a), pair.b.children().len()), (vec![bob, carol], 2));
    assert!(failures(&pair.a).is_empty() && failures(&pair.b).is_empty());
}

#[test]
fn an_sa_that_the_peer_started_serves_as_well() {
    let mut pair = network(2);
    traffic(&mut pair, Side::B, address(0));
    pair.run();
    assert_up(&mut pair);
    traffic(&mut pair, Side::A, address(1));
    pair.run();
    assert_up(&mut pair);
}

#[test]
fn a_scan_is_bounded_and_peers_that_live_get_through() {
    let mut pair = network(3);
    for n in 0..=u16::MAX {
        let [high, low] = n.to_be_bytes();
        traffic(&mut pair, Side::A, [10, 7, high, low].into());
        assert!(pair.a.endpoint.footprint() <= DIALLING);
    }
    assert_eq!(pair.a.endpoint.footprint(), DIALLING);
    let loud = failures(&pair.a).into_iter().filter(|failure| !failure.repeated).count();
    assert_eq!((loud, failures(&pair.a)[0].cause), (1, FailureCause::Limit));
    pair.run_for(DIALLING_PATIENCE);
    traffic(&mut pair, Side::A, address(1));
    pair.run_for(SECOND);
    assert_eq!((pair.a.children().len(), pair.a.endpoint.footprint()), (1, DIALLING));
    pair.run_for(120 * SECOND);
    assert_eq!(pair.a.endpoint.footprint(), 1);
    // Each dialled one is reported once.
    let timeouts = failures(&pair.a).into_iter().filter(|failure| failure.cause == FailureCause::Timeout).count();
    assert_eq!(timeouts, DIALLING);
}

#[test]
fn a_peer_that_does_not_answer_is_told_once() {
    let mut pair = network(4);
    let nobody: IpAddr = [10, 7, 7, 7].into();
    let told = |pair: &Pair| -> Vec<bool> { failures(&pair.a).iter().map(|failure| failure.repeated).collect() };
    for expected in [vec![false], vec![false, true], vec![false, true, true]] {
        for _ in 0..10 {
            traffic(&mut pair, Side::A, nobody);
        }
        pair.run_for(120 * SECOND);
        assert_eq!(told(&pair), expected);
        let failure = failures(&pair.a).remove(0);
        assert_eq!((failure.cause, failure.path.remote.ip()), (FailureCause::Timeout, nobody));
        assert_eq!((failure.connection.as_deref(), failure.by_stranger), (Some("net"), false));
    }
}

#[test]
fn a_peer_that_was_there_and_is_silent_again_is_news() {
    let mut pair = network(9);
    let bob = address(1);
    for expected in [vec![false, true], vec![false, true, false, true]] {
        pair.link.cut = true;
        for _ in 0..2 {
            traffic(&mut pair, Side::A, bob);
            pair.run_for(120 * SECOND);
        }
        assert_eq!(failures(&pair.a).iter().map(|failure| failure.repeated).collect::<Vec<_>>(), expected);
        pair.link.cut = false;
        traffic(&mut pair, Side::A, bob);
        pair.run();
        assert_eq!(pair.a.children().len(), 1);
        let ike = the_ike(&pair.a);
        pair.command(Side::A, Command::DeleteIke(ike));
        pair.run();
    }
}

#[test]
fn our_own_addresses_are_never_dialled() {
    let mut pair = network(5);
    for own in ["192.0.2.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        traffic(&mut pair, Side::A, own.parse().unwrap());
    }
    assert_eq!((pair.a.endpoint.footprint(), pair.a.sent.len(), failures(&pair.a).len()), (0, 0, 0));
    // One of B's own that no connection names: our own request comes back, and is known for it.
    let mut config = pair.b.config().clone();
    config.connections.truncate(1);
    Arc::make_mut(&mut config.connections[0]).local_addrs.clear();
    pair.reload(Side::B, config);
    traffic(&mut pair, Side::B, CAROL.parse().unwrap());
    pair.run_for(120 * SECOND);
    assert_eq!((pair.b.endpoint.footprint(), pair.b.children().len()), (0, 0));
}

#[test]
fn what_is_not_about_the_connection_is_not_dialled_and_told_once() {
    let mut pair = network(6);
    for n in 1..=100 {
        traffic(&mut pair, Side::A, [203, 0, 113, n].into());
    }
    assert_eq!((pair.a.endpoint.footprint(), pair.a.sent.len()), (0, 0));
    let failures = failures(&pair.a);
    assert_eq!(failures.iter().filter(|failure| !failure.repeated).count(), 1);
    assert_eq!(failures[0].cause, FailureCause::NoConnection);
}

#[test]
fn a_command_is_told_that_traffic_does_it() {
    let mut pair = network(7);
    initiate(&mut pair, Side::A);
    let failure = failures(&pair.a).remove(0);
    assert!(failure.remedy.contains("traffic"), "{failure:?}");
    assert_eq!(pair.a.sent.len(), 0);
}

#[test]
fn strangers_are_told_apart_from_peers() {
    use cygnet_ike::secret::Secret;
    let mut pair = psk(8, |side, scenario| {
        if side == Side::A {
            let other = Arc::new(Secret::new(b"something else".to_vec()));
            scenario.connection.local.auth = cygnet_ike::config::LocalAuth::Psk(other);
        }
    });
    for _ in 0..2 {
        initiate(&mut pair, Side::A);
    }
    let by_strangers = |node: &Node| failures(node).iter().map(|f| (f.by_stranger, f.repeated)).collect::<Vec<_>>();
    assert_eq!(by_strangers(&pair.b), [(true, false), (true, false)]);
    assert_eq!(by_strangers(&pair.a), [(false, false), (false, true)]);
}
