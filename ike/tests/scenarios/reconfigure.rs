//! Another configuration takes over while tunnels are up: only what it changes is touched.

use std::sync::Arc;
use std::time::Duration;

use cygnet_ike::config::{Config, LocalAuth, PeerAuth, StartAction};
use cygnet_ike::proposal::Protocol;
use cygnet_ike::secret::Secret;
use cygnet_ike::testing::scenario::{NAMES, NET, proposals, selectors};
use cygnet_ike::testing::{Faults, Side};
use cygnet_spd::PolicyId;

use super::certificates::{authority, credential, p256, side, trusting};
use super::*;

/// A second child of the connection.
const MORE: PolicyId = PolicyId(2);

fn config(side: Side, bend: impl Fn(Side, &mut Scenario)) -> Config {
    Scenario::psk(side).with(|scenario| bend(side, scenario)).build()
}

/// Names of SAs, which say whether they are still the same ones.
fn names(node: &Node) -> (Vec<IkeSaId>, Vec<u32>) {
    let ikes = node.ike_sas().iter().map(|sa| sa.id).collect();
    (ikes, node.children().iter().map(|child| child.spi_in.0).collect())
}

fn with_a_second_child(start: StartAction) -> impl Fn(Side, &mut Scenario) {
    move |side, scenario| {
        let mut more = scenario.child.clone();
        (more.name, more.policy) = ("more".to_owned(), MORE);
        let nets = ["10.3.0.0/16", "10.4.0.0/16"];
        let (own, other) = if side == Side::A { (0, 1) } else { (1, 0) };
        (more.local_ts, more.remote_ts) = (selectors(&[nets[own]]), selectors(&[nets[other]]));
        if side == Side::A {
            more.start = start;
        }
        scenario.connection.children.push(Arc::new(more));
    }
}

#[test]
fn the_same_configuration_changes_nothing() {
    for start in [StartAction::None, StartAction::Start] {
        let bend = |_: Side, scenario: &mut Scenario| scenario.child.start = start;
        let mut pair = psk(1, |side, scenario| {
            if side == Side::A {
                bend(side, scenario);
            }
        });
        initiate(&mut pair, Side::A);
        assert_up(&mut pair);
        let before = (names(&pair.a), names(&pair.b), pair.a.events.len(), pair.a.sent.len());
        pair.traffic = Some(Duration::from_millis(5));
        for _ in 0..20 {
            pair.reload(Side::A, config(Side::A, bend));
            pair.reload(Side::B, config(Side::B, |_, _| {}));
            pair.run_for(SECOND);
        }
        pair.traffic = None;
        pair.run_for(SECOND);
        assert_eq!((names(&pair.a), names(&pair.b), pair.a.events.len(), pair.a.sent.len()), before);
        assert_eq!(pair.probes_lost(), 0);
    }
}

#[test]
fn new_values_are_those_of_the_next_rekey() {
    let mut pair = tunnel(2, Side::A, |_, _| {});
    let before = names(&pair.a);
    let bend = |_: Side, scenario: &mut Scenario| {
        scenario.connection.proposals = proposals(Protocol::Ike, "aes128gcm16-prfsha384-ecp384");
        scenario.child.proposals = proposals(Protocol::Esp, "aes256gcm16-ecp256");
        scenario.connection.rekey_time = Some(500 * SECOND);
        scenario.child.lifetime.rekey_time = Some(100 * SECOND);
    };
    pair.reload(Side::A, config(Side::A, bend));
    pair.reload(Side::B, config(Side::B, bend));
    pair.run_for(60 * SECOND);
    assert_eq!(names(&pair.a), before);
    let (ike, child) = (the_ike(&pair.a), pair.a.children()[0].id);
    pair.command(Side::A, Command::RekeyChild(child));
    pair.command(Side::A, Command::RekeyIke(ike));
    pair.run();
    pair.run_for(10 * SECOND);
    assert_up(&mut pair);
    let ike = pair.a.ike_sas().remove(0);
    assert_eq!((ike.algorithms.unwrap().group, ike.children[0].group), (20, Some(19)));
    assert!(ike.rekey_at.is_some() && ike.children[0].rekey_at.is_some());
}

#[test]
fn a_new_secret_leaves_old_sas_alone_and_is_asked_of_new_ones() {
    let mut pair = tunnel(3, Side::A, |_, _| {});
    let before = names(&pair.a);
    let bend = |_: Side, scenario: &mut Scenario| {
        let other = || Arc::new(Secret::new(b"something else".to_vec()));
        scenario.connection.local.auth = LocalAuth::Psk(other());
        scenario.connection.peer.auth = PeerAuth::Psk(other());
    };
    pair.reload(Side::A, config(Side::A, bend));
    pair.run_for(10 * SECOND);
    assert_eq!(names(&pair.a), before);
    pair.restart(Side::B);
    initiate(&mut pair, Side::B);
    assert!(!failures(&pair.a).is_empty());
    pair.reload(Side::B, config(Side::B, bend));
    initiate(&mut pair, Side::B);
    assert_up(&mut pair);
}

#[test]
fn a_connection_that_is_gone_is_deleted_and_comes_with_the_next_configuration() {
    for reloaded in [Side::A, Side::B] {
        let mut pair = tunnel(4, Side::A, |_, _| {});
        let mut empty = pair.node(reloaded).config().clone();
        empty.connections.clear();
        let full = pair.node(reloaded).config().clone();
        pair.reload(reloaded, empty);
        pair.run_for(60 * SECOND);
        assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
        assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
        assert_eq!(ike_downs(pair.node(reloaded)), [DownReason::Reconfigured]);
        assert_eq!(ike_downs(pair.node(reloaded.other())), [DownReason::PeerDeleted]);
        pair.reload(reloaded, full);
        initiate(&mut pair, Side::A);
        assert_up(&mut pair);
    }
}

#[test]
fn a_peer_that_is_no_longer_meant_is_deleted() {
    let bends: [fn(Side, &mut Scenario); 2] = [
        |_, scenario| scenario.connection.remote_addrs = vec!["203.0.113.0/24".parse().unwrap()],
        |_, scenario| {
            scenario.connection.peer.id = cygnet_ike::identity::IdPattern::Exact("carol.example".parse().unwrap());
        },
    ];
    for bend in bends {
        let mut pair = tunnel(5, Side::A, |_, _| {});
        pair.reload(Side::B, config(Side::B, bend));
        pair.run_for(60 * SECOND);
        assert_eq!(ike_downs(&pair.b), [DownReason::Reconfigured]);
        assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
    }
}

#[test]
fn children_come_and_go_and_the_others_stay() {
    let mut pair = tunnel(6, Side::A, |_, _| {});
    let before = names(&pair.a);
    pair.reload(Side::B, config(Side::B, with_a_second_child(StartAction::None)));
    pair.reload(Side::A, config(Side::A, with_a_second_child(StartAction::Start)));
    pair.run_for(10 * SECOND);
    assert!(pair.is_open(NET) && pair.is_open(MORE));
    assert_eq!((pair.a.children().len(), pair.a.ike_sas().len()), (2, 1));
    assert_eq!(pair.a.children()[0].spi_in.0, before.1[0]);
    pair.reload(Side::A, config(Side::A, |_, _| {}));
    pair.run_for(60 * SECOND);
    assert_eq!(names(&pair.a), before);
    assert_eq!(child_downs(&pair.a), [DownReason::Reconfigured]);
    assert_eq!(child_downs(&pair.b), [DownReason::PeerDeleted]);
    assert!(pair.is_open(NET));
}

#[test]
fn a_child_with_other_selectors_is_made_anew() {
    let bend = |_: Side, scenario: &mut Scenario| {
        for ts in [&mut scenario.child.local_ts, &mut scenario.child.remote_ts] {
            ts.extend(selectors(&["10.9.0.0/16"]));
        }
    };
    for start in [StartAction::Start, StartAction::Trap] {
        let with_start = |side: Side, scenario: &mut Scenario| {
            if side == Side::A {
                scenario.child.start = start;
            }
        };
        let mut pair = psk(7, with_start);
        initiate(&mut pair, Side::A);
        pair.reload(Side::B, config(Side::B, bend));
        pair.run_for(10 * SECOND);
        pair.reload(
            Side::A,
            config(Side::A, |side, scenario| {
                with_start(side, scenario);
                bend(side, scenario);
            }),
        );
        pair.run_for(10 * SECOND);
        match start {
            StartAction::Start => {
                assert_up(&mut pair);
                assert_eq!(pair.a.children()[0].local_ts.len(), 2);
            }
            _ => assert_eq!((pair.a.children().len(), pair.a.ike_sas().len()), (0, 1)),
        }
    }
}

#[test]
fn a_new_authority_lets_new_peers_in_and_the_old_ones_stay() {
    let (old, new) = (authority("Old CA"), authority("New CA"));
    let both = || {
        let mut both = trusting(&old);
        both.merge(&trusting(&new));
        both
    };
    let of_old = |name| credential(&old, name, &p256(), |_| {});
    let of_new = |name| credential(&new, name, &p256(), |_| {});
    let a = side(Side::A, of_old(NAMES[0]), trusting(&old));
    let mut pair = Pair::new(8, a, side(Side::B, of_old(NAMES[1]), both()));
    initiate(&mut pair, Side::A);
    assert_up(&mut pair);
    let before = names(&pair.a);
    pair.reload(Side::A, side(Side::A, of_new(NAMES[0]), both()));
    pair.run_for(10 * SECOND);
    assert_eq!(names(&pair.a), before);
    let ike = the_ike(&pair.a);
    pair.command(Side::A, Command::RekeyIke(ike));
    pair.run();
    pair.run_for(10 * SECOND);
    assert_up(&mut pair);
    assert_eq!(names(&pair.a).1, before.1);
    // B comes back with a certificate of the new authority.
    pair.reconfigure(Side::B, side(Side::B, of_new(NAMES[1]), trusting(&new)));
    initiate(&mut pair, Side::B);
    pair.run_for(10 * SECOND);
    assert_up(&mut pair);
    assert!(failures(&pair.a).is_empty() && failures(&pair.b).is_empty());
}

#[test]
fn a_negotiation_under_way_ends_on_its_own_terms() {
    // At any time of the handshake, and of the rekeys that follow: what comes of it is what is configured now.
    let bend = |_: Side, scenario: &mut Scenario| {
        scenario.connection.proposals = proposals(Protocol::Ike, "aes128gcm16-prfsha384-ecp384");
        scenario.child.proposals = proposals(Protocol::Esp, "aes256gcm16-ecp256");
    };
    let lax = |side: Side, scenario: &mut Scenario| {
        let before = (scenario.connection.proposals.clone(), scenario.child.proposals.clone());
        bend(side, scenario);
        scenario.connection.proposals.extend(before.0);
        scenario.child.proposals.extend(before.1);
    };
    for delay in 0..45 {
        let mut pair = psk(9, |side, scenario| {
            if side == Side::B {
                lax(side, scenario);
            }
        });
        pair.link.faults = Faults { delay: Duration::from_millis(7), ..Faults::NONE };
        pair.command(Side::A, Command::Initiate { connection: "net".into(), child: None });
        pair.run_for(Duration::from_millis(delay));
        pair.reload(Side::A, config(Side::A, bend));
        if let (Some(ike), Some(child)) = (pair.a.ike_sas().first(), pair.a.children().first()) {
            let (ike, child) = (ike.id, child.id);
            pair.command(Side::A, Command::RekeyChild(child));
            pair.command(Side::A, Command::RekeyIke(ike));
        }
        pair.run();
        pair.run_for(10 * SECOND);
        assert_up(&mut pair);
        assert!(failures(&pair.a).is_empty(), "{:?}", failures(&pair.a));
        let mut empty = pair.a.config().clone();
        empty.connections.clear();
        pair.reload(Side::A, empty);
        pair.run_for(60 * SECOND);
        assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
    }
}

#[test]
fn a_connection_that_goes_during_the_handshake_leaves_nothing() {
    for delay in 0..45 {
        let mut pair = psk(10, |_, _| {});
        pair.link.faults = Faults { delay: Duration::from_millis(7), ..Faults::NONE };
        pair.command(Side::A, Command::Initiate { connection: "net".into(), child: None });
        pair.run_for(Duration::from_millis(delay));
        let mut empty = pair.a.config().clone();
        empty.connections.clear();
        pair.reload(Side::A, empty);
        pair.run_for(120 * SECOND);
        assert_eq!((pair.a.endpoint.footprint(), pair.a.installed()), (0, (0, 0)), "{delay} ms");
    }
}
