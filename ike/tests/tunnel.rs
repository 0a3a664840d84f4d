//! The happy paths: two endpoints, a good network.

use std::time::Duration;

use cygnet_ike::status::IkeState;
use cygnet_ike::testing::scenario::{NET, Scenario};
use cygnet_ike::testing::{Pair, Side};
use cygnet_ike::{Command, DownReason, Event};

/// Two sides with a pre-shared key, bent alike.
fn pair(seed: u64, bend: impl Fn(&mut Scenario)) -> Pair {
    let side = |side| Scenario::psk(side).with(&bend).build();
    Pair::new(seed, side(Side::A), side(Side::B))
}

fn initiate(pair: &mut Pair, side: Side) {
    pair.command(side, Command::Initiate { connection: "net".into(), child: None });
    pair.run();
}

/// A pair with a tunnel that `side` initiated.
fn tunnel(seed: u64, side: Side, bend: impl Fn(&mut Scenario)) -> Pair {
    let mut pair = pair(seed, bend);
    initiate(&mut pair, side);
    assert_eq!((pair.a.children().len(), pair.b.children().len()), (1, 1), "{:?} {:?}", pair.a.events, pair.b.events);
    assert!(pair.is_open(NET));
    pair
}

#[test]
fn either_side_can_initiate() {
    for side in [Side::A, Side::B] {
        let mut pair = tunnel(1, side, |_| {});
        for node in [&pair.a, &pair.b] {
            let [sa] = &node.ike_sas()[..] else { panic!("one IKE SA expected") };
            assert_eq!(sa.state, IkeState::Established);
            assert!(sa.remote_id.is_some() && sa.algorithms.is_some());
        }
        let (a, b) = (pair.a.children().remove(0), pair.b.children().remove(0));
        assert_eq!((a.spi_in, a.spi_out), (b.spi_out, b.spi_in));
        assert_eq!((a.local_ts, a.remote_ts), (b.remote_ts, b.local_ts));

        let id = pair.node(side).ike_sas()[0].id;
        pair.command(side, Command::DeleteIke(id));
        pair.run();
        pair.run_for(Duration::from_secs(60));
        assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
        assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
        let down = |reason| move |event: &Event| matches!(event, Event::IkeDown { reason: r, .. } if *r == reason);
        assert!(pair.node(side).events.iter().any(down(DownReason::Command)));
        assert!(pair.node(side.other()).events.iter().any(down(DownReason::PeerDeleted)));
    }
}
