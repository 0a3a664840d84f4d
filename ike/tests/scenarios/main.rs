//! Two endpoints in memory, told as message diagrams: what goes well, what is refused, what the network does.

mod both_start;
mod certificates;
mod hostile;
mod lifetime;
mod nat;
mod network;
mod peer;
mod per_resource;
mod populate;
mod reconfigure;
mod refusal;
mod rekey;
mod selectors;
mod transport;
mod trap_any;
mod tunnel;

use std::time::Duration;

use cygnet_ike::testing::scenario::{NET, Scenario};
use cygnet_ike::testing::{Node, Pair, Side};
use cygnet_ike::{Command, DownReason, Event, Failure, IkeSaId};

/// Two sides with a pre-shared key, both bent by `bend`.
fn psk(seed: u64, bend: impl Fn(Side, &mut Scenario)) -> Pair {
    let side = |side| Scenario::psk(side).with(|scenario| bend(side, scenario)).build();
    Pair::new(seed, side(Side::A), side(Side::B))
}

fn initiate(pair: &mut Pair, side: Side) {
    pair.command(side, Command::Initiate { connection: "net".into(), child: None });
    pair.run();
}

/// Asserts that each side has one IKE SA with one child, and that it carries traffic.
#[track_caller]
fn assert_up(pair: &mut Pair) {
    let children = (pair.a.children().len(), pair.b.children().len());
    assert_eq!(children, (1, 1), "\nA: {:#?}\nB: {:#?}", pair.a.events, pair.b.events);
    assert_eq!((pair.a.ike_sas().len(), pair.b.ike_sas().len()), (1, 1));
    assert!(pair.is_open(NET));
    let (a, b) = (pair.a.children().remove(0), pair.b.children().remove(0));
    assert_eq!((a.spi_in, a.spi_out), (b.spi_out, b.spi_in));
    assert_eq!((a.local_ts, a.remote_ts), (b.remote_ts, b.local_ts));
    assert_eq!((a.encr, a.esn, a.group), (b.encr, b.esn, b.group));
}

/// A pair with a tunnel that `side` initiated.
#[track_caller]
fn tunnel(seed: u64, side: Side, bend: impl Fn(Side, &mut Scenario)) -> Pair {
    let mut pair = psk(seed, bend);
    initiate(&mut pair, side);
    assert_up(&mut pair);
    pair
}

/// The one IKE SA of a node.
#[track_caller]
fn the_ike(node: &Node) -> IkeSaId {
    let [sa] = &node.ike_sas()[..] else { panic!("one IKE SA expected: {:#?}", node.ike_sas()) };
    sa.id
}

/// The failures that a node reported.
fn failures(node: &Node) -> Vec<&Failure> {
    node.events
        .iter()
        .filter_map(|event| if let Event::Failed(failure) = event { Some(failure) } else { None })
        .collect()
}

/// Why the IKE SAs of a node ended.
fn ike_downs(node: &Node) -> Vec<DownReason> {
    let reason = |event: &Event| if let Event::IkeDown { reason, .. } = event { Some(*reason) } else { None };
    node.events.iter().filter_map(reason).collect()
}

/// Why the children of a node ended.
fn child_downs(node: &Node) -> Vec<DownReason> {
    let reason = |event: &Event| if let Event::ChildDown { reason, .. } = event { Some(*reason) } else { None };
    node.events.iter().filter_map(reason).collect()
}

const SECOND: Duration = Duration::from_secs(1);
