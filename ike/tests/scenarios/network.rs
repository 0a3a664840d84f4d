//! A thousand seeds of handshake, traffic and rekeys over a network that loses, duplicates and reorders.

use std::time::Duration;

use cygnet_ike::Event;
use cygnet_ike::config::StartAction;
use cygnet_ike::testing::Faults;
use cygnet_ike::testing::scenario::NET;

use super::*;

/// Handshake, traffic and rekeys under `faults`; then the network heals, and all must be well. [`Pair`] itself checks
/// nonces and repetitions.
fn converges(seed: u64, faults: Faults) -> Evidence {
    let mut pair = psk(seed, |side, scenario| {
        scenario.connection.dpd_delay = Some(20 * SECOND);
        scenario.config.retransmit.tries = 8;
        if side == Side::A {
            scenario.child.start = StartAction::Start;
        }
    });
    pair.link.faults = faults;
    pair.traffic = Some(Duration::from_millis(500));
    pair.run_for(20 * SECOND);
    for _ in 0..4 {
        let side = if pair.link.chance(0.5) { Side::A } else { Side::B };
        let children = pair.node(side).children();
        let sas = pair.node(side).ike_sas();
        let command = match (pair.link.below(2), children.first(), sas.first()) {
            (0, Some(child), _) => Command::RekeyChild(child.id),
            (_, _, Some(sa)) => Command::RekeyIke(sa.id),
            _ => Command::Initiate { connection: "net".into(), child: None },
        };
        pair.command(side, command);
        pair.run_for(10 * SECOND);
    }
    pair.link.faults = Faults::NONE;
    pair.run_for(200 * SECOND);
    pair.traffic = None;
    pair.run();
    pair.run_for(10 * SECOND);

    assert!(pair.is_open(NET), "seed {seed}: no traffic\nA: {:#?}\nB: {:#?}", pair.a.ike_sas(), pair.b.ike_sas());
    let spis = |node: &Node| {
        let mut spis: Vec<_> = node.ike_sas().iter().map(|sa| (sa.spi_i, sa.spi_r)).collect();
        spis.sort_unstable();
        spis
    };
    assert_eq!(spis(&pair.a), spis(&pair.b), "seed {seed}: IKE SAs differ");
    let children = |node: &Node, swap: bool| {
        let pair = |(a, b)| if swap { (b, a) } else { (a, b) };
        let mut spis: Vec<_> = node.children().iter().map(|child| pair((child.spi_in, child.spi_out))).collect();
        spis.sort_unstable();
        spis
    };
    assert_eq!(children(&pair.a, false), children(&pair.b, true), "seed {seed}: Child SAs differ");
    // Nothing is left behind: every installed SA belongs to a child.
    for node in [&pair.a, &pair.b] {
        let known = node.children().len();
        assert_eq!(node.installed(), (known, known), "seed {seed}: SAs leaked");
        assert_eq!(node.endpoint.footprint(), node.ike_sas().len(), "seed {seed}: IKE SAs leaked");
    }
    let count = |is: fn(&Event) -> bool| pair.a.events.iter().chain(&pair.b.events).filter(|event| is(event)).count();
    Evidence {
        child_rekeys: count(|event| matches!(event, Event::ChildRekeyed { .. })),
        ike_rekeys: count(|event| matches!(event, Event::IkeRekeyed { .. })),
        retransmissions: count(|event| matches!(event, Event::Retransmitted { .. })),
        probes: pair.a.arrived.len() + pair.b.arrived.len(),
    }
}

/// That something happened.
#[derive(Debug, Default)]
struct Evidence {
    child_rekeys: usize,
    ike_rekeys: usize,
    retransmissions: usize,
    probes: usize,
}

/// Runs the seeds, on all cores.
fn all(seeds: std::ops::Range<u64>, faults: Faults) -> Evidence {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get()) as u64;
    let mut sum = Evidence::default();
    std::thread::scope(|scope| {
        let shares = (0..cores).map(|core| {
            let seeds = seeds.clone().filter(move |seed| seed % cores == core);
            scope.spawn(move || seeds.map(|seed| converges(seed, faults)).collect::<Vec<_>>())
        });
        for share in shares.collect::<Vec<_>>() {
            for evidence in share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                sum.child_rekeys += evidence.child_rekeys;
                sum.ike_rekeys += evidence.ike_rekeys;
                sum.retransmissions += evidence.retransmissions;
                sum.probes += evidence.probes;
            }
        }
    });
    sum
}

#[test]
fn a_thousand_seeds_converge() {
    let seen = all(0..1000, Faults::ROUGH);
    assert!(seen.child_rekeys > 2000 && seen.ike_rekeys > 2000, "{seen:?}");
    assert!(seen.retransmissions > 2000 && seen.probes > 100_000, "{seen:?}");
}

#[test]
fn flipped_bits_do_no_harm() {
    let seen = all(0..100, Faults::NOISY);
    assert!(seen.child_rekeys > 100 && seen.ike_rekeys > 100, "{seen:?}");
}

#[test]
fn a_seed_repeats_its_decisions() {
    // Private keys may come from elsewhere, so octets differ; what happens does not.
    let log = |seed| {
        let mut pair = psk(seed, |_, _| {});
        pair.link.faults = Faults::ROUGH;
        initiate(&mut pair, Side::A);
        let sent: Vec<usize> = pair.a.sent.iter().map(Vec::len).collect();
        (sent, pair.elapsed(), pair.a.children().len())
    };
    assert_eq!(log(7), log(7));
}
