//! Both sides start at the same time: one IKE SA and one pair of Child SAs stay, and no packet is lost over it
//! (RFC 7296 §2.8.1 applied to the initial exchanges).

use std::time::Duration;

use cygnet_ike::config::StartAction;
use cygnet_ike::testing::scenario::{NET, selectors};
use cygnet_ike::testing::{Faults, Kind, Packet, Side, address};
use cygnet_spd::{AddrRange, Direction, Flow, Mode, Ports};

use super::*;

const SIDES: [Side; 2] = [Side::A, Side::B];

fn initiate_at_once(pair: &mut Pair) {
    for side in SIDES {
        pair.command(side, Command::Initiate { connection: "net".into(), child: None });
    }
}

fn redundant(node: &Node) -> usize {
    ike_downs(node).into_iter().filter(|reason| *reason == DownReason::Redundant).count()
}

/// One IKE SA, one pair, on both sides; nothing else is left behind.
#[track_caller]
fn assert_one(pair: &mut Pair, seed: u64) {
    let what = |pair: &Pair| format!("seed {seed}\nA: {:#?}\nB: {:#?}", pair.a.events, pair.b.events);
    for side in SIDES {
        let node = pair.node(side);
        assert_eq!((node.ike_sas().len(), node.children().len()), (1, 1), "{}", what(pair));
        assert_eq!((node.installed(), node.endpoint.footprint()), ((1, 1), 1), "{}", what(pair));
        assert!(failures(node).is_empty(), "{}", what(pair));
    }
    assert_up(pair);
}

#[test]
fn one_pair_stays() {
    for seed in 0..50 {
        let mut pair = psk(seed, |_, _| {});
        pair.traffic = Some(Duration::from_millis(1));
        initiate_at_once(&mut pair);
        pair.run_for(SECOND);
        pair.traffic = Some(SECOND / 10);
        pair.run_for(30 * SECOND);
        pair.traffic = None;
        pair.run_for(SECOND);
        assert_one(&mut pair, seed);
        assert_eq!(pair.probes_lost(), 0, "seed {seed}");
        assert_eq!((redundant(&pair.a), redundant(&pair.b)), (1, 1));
    }
}

#[test]
fn the_lowest_of_the_four_nonces_decides() {
    // Either side's SA stays at times, and both agree which.
    let mut stays = [0, 0];
    for seed in 0..40 {
        let mut pair = psk(seed, |_, _| {});
        initiate_at_once(&mut pair);
        pair.run_for(30 * SECOND);
        assert_one(&mut pair, seed);
        stays[usize::from(pair.b.ike_sas()[0].initiator)] += 1;
    }
    assert!(stays[0] > 5 && stays[1] > 5, "{stays:?}");
}

/// Starts apart by some time, over a network of these faults, under traffic; then it heals.
fn converges(seed: u64, faults: Faults, bend: impl Fn(Side, &mut Scenario)) -> (usize, u64) {
    let mut pair = psk(seed, |side, scenario| {
        scenario.config.retransmit.tries = 10;
        bend(side, scenario);
    });
    pair.link.faults = Faults { loss: 0.0, duplicate: 0.0, ..faults };
    pair.traffic = Some(Duration::from_millis(5));
    pair.probe_once_up = true;
    // Loss is of IKE alone, so that every lost probe is one that was sent in vain.
    let mut drops = rand_like(seed);
    let (loss, duplicate) = (faults.loss, faults.duplicate);
    pair.filter = Some(Box::new(move |packet: &Packet| match packet.kind {
        Kind::Ike { .. } => {
            let lost = drops() < loss;
            if lost { 0 } else { 1 + usize::from(drops() < duplicate) }
        }
        Kind::Esp => 1,
    }));
    let apart = Duration::from_millis(seed * 7 % 400);
    let first = if seed.is_multiple_of(2) { Side::A } else { Side::B };
    pair.command(first, Command::Initiate { connection: "net".into(), child: None });
    pair.run_for(apart);
    pair.command(first.other(), Command::Initiate { connection: "net".into(), child: None });
    pair.run_for(4 * SECOND);
    pair.traffic = Some(SECOND / 2);
    pair.run_for(50 * SECOND);
    pair.filter = None;
    pair.link.faults = Faults::NONE;
    pair.run_for(60 * SECOND);
    pair.traffic = None;
    pair.run_for(10 * SECOND);
    assert_one(&mut pair, seed);
    assert_eq!(pair.probes_lost(), 0, "seed {seed}: probes lost\nA: {:#?}\nB: {:#?}", pair.a.events, pair.b.events);
    (redundant(&pair.a) + redundant(&pair.b), pair.a.arrived.len() as u64)
}

/// Numbers in 0..1, the same ones for each seed.
fn rand_like(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn all(seeds: std::ops::Range<u64>, faults: Faults, bend: impl Fn(Side, &mut Scenario) + Sync) -> (usize, u64) {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get()) as u64;
    std::thread::scope(|scope| {
        let bend = &bend;
        let shares: Vec<_> = (0..cores)
            .map(|core| {
                let seeds = seeds.clone().filter(move |seed| seed % cores == core);
                scope.spawn(move || seeds.map(|seed| converges(seed, faults, bend)).collect::<Vec<_>>())
            })
            .collect();
        let seen = shares.into_iter().flat_map(|share| share.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
        seen.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    })
}

#[test]
fn a_thousand_seeds_leave_one_pair_and_lose_no_probe() {
    let rough = Faults { delay: Duration::from_millis(20), jitter: Duration::from_millis(60), ..Faults::ROUGH };
    let (redundant, probes) = all(0..1000, rough, |_, _| {});
    assert!(redundant > 500 && probes > 100_000, "{redundant} {probes}");
}

#[test]
fn both_sides_may_start_by_configuration() {
    for seed in 0..50 {
        let mut pair = psk(seed, |_, scenario| scenario.child.start = StartAction::Start);
        pair.run_for(60 * SECOND);
        assert_one(&mut pair, seed);
        for side in SIDES {
            pair.restart(side);
            pair.run_for(120 * SECOND);
            assert_eq!((pair.a.installed(), pair.b.installed()), ((1, 1), (1, 1)), "seed {seed}");
            assert_up(&mut pair);
        }
    }
}

fn flow(from: Side) -> Flow {
    let (own, peer) = (usize::from(from == Side::B), usize::from(from == Side::A));
    let ports = Ports::Pair { local: 40_000, remote: 80 };
    Flow { direction: Direction::Outbound, local: address(own), remote: address(peer), protocol: 6, ports }
}

#[test]
fn traffic_in_both_directions_at_once_makes_one_pair() {
    for seed in 0..50 {
        let mut pair = psk(seed, |_, scenario| {
            scenario.child.mode = Mode::Transport;
            for ts in [&mut scenario.child.local_ts, &mut scenario.child.remote_ts] {
                *ts = selectors(&["192.0.2.0/24"]);
            }
            scenario.connection.remote_addrs = vec!["192.0.2.0/24".parse::<AddrRange>().unwrap()];
        });
        pair.traffic = Some(Duration::from_millis(1));
        for side in SIDES {
            pair.command(side, Command::Acquire { policy: NET, flow: flow(side) });
        }
        pair.run_for(SECOND);
        pair.traffic = Some(SECOND / 10);
        pair.run_for(30 * SECOND);
        pair.traffic = None;
        pair.run_for(SECOND);
        assert_one(&mut pair, seed);
        assert_eq!(pair.probes_lost(), 0);
    }
}

#[test]
fn a_peer_that_does_not_do_its_part_leaves_two_in_peace() {
    // B never asks for anything once it is authenticated, so that it deletes nothing either.
    const INFORMATIONAL: u8 = 37;
    const RESPONSE: u8 = 0x20;
    let (mut one, mut two) = (0, 0);
    for seed in 0..20 {
        let mut pair = psk(seed, |_, scenario| scenario.child.start = StartAction::Start);
        pair.filter = Some(Box::new(|packet: &Packet| {
            let asks = packet.from.ip() == address(1)
                && matches!(packet.kind, Kind::Ike { .. })
                && packet.bytes[18] == INFORMATIONAL
                && packet.bytes[19] & RESPONSE == 0;
            usize::from(!asks)
        }));
        pair.run_for(5 * SECOND);
        let spis = |pair: &Pair| pair.a.children().iter().map(|child| child.spi_in).collect::<Vec<_>>();
        let (before, sent) = (spis(&pair), pair.a.sent.len());
        pair.run_for(15 * SECOND);
        // Nobody goes on deleting and starting.
        assert_eq!((spis(&pair), pair.a.sent.len()), (before, sent), "seed {seed}");
        assert!(pair.is_open(NET), "seed {seed}");
        match pair.a.ike_sas().len() {
            1 => one += 1,
            _ => two += 1,
        }
    }
    // What we had started we deleted; what the peer had started stays.
    assert!(one > 0 && two > 0, "{one} {two}");
}

#[test]
fn down_holds_whenever_it_comes() {
    for delay in 0..80 {
        let mut pair = psk(delay, |_, _| {});
        initiate_at_once(&mut pair);
        pair.run_for(Duration::from_millis(delay));
        for ike in pair.a.ike_sas() {
            pair.command(Side::A, Command::DeleteIke(ike.id));
        }
        pair.run_for(120 * SECOND);
        // What B alone had started may have come up after that, and that is B's to decide; nothing is half there.
        assert_eq!(pair.a.installed(), pair.b.installed(), "{delay} ms");
        assert_eq!(pair.a.ike_sas().len(), pair.b.ike_sas().len(), "{delay} ms");
        assert!(pair.a.ike_sas().iter().all(|sa| !sa.initiator), "{delay} ms");
        if delay >= 60 {
            assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0), "{delay} ms");
        }
    }
}
