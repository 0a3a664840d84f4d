//! Several Child SAs with the same selectors, each for one resource (RFC 9611).

use cygnet_ike::config::{Config, StartAction};
use cygnet_ike::proposal::Protocol;
use cygnet_ike::status::ChildStatus;
use cygnet_ike::testing::Faults;
use cygnet_ike::testing::scenario::proposals;

use super::*;

const SIDES: [Side; 2] = [Side::A, Side::B];
const WORKERS: u32 = 4;

fn several(_: Side, scenario: &mut Scenario) {
    scenario.child.per_resource_sas = true;
    scenario.config.workers = WORKERS;
}

/// A tunnel that may have several SAs.
#[track_caller]
fn agreed(seed: u64, initiator: Side) -> Pair {
    let pair = tunnel(seed, initiator, several);
    for node in [&pair.a, &pair.b] {
        assert_eq!(numbers(node), [None]);
    }
    pair
}

fn add(pair: &mut Pair, side: Side, resource: u32) {
    let child = pair.node(side).children()[0].id;
    pair.command(side, Command::AddResource { child, resource });
}

/// The resources that have an SA, in order.
fn numbers(node: &Node) -> Vec<Option<u32>> {
    let mut numbers: Vec<_> =
        node.children().iter().map(|child| child.resource.expect("one of several").number).collect();
    numbers.sort_unstable();
    numbers
}

/// The SA of a resource.
#[track_caller]
fn of(node: &Node, number: Option<u32>) -> ChildStatus {
    let found = node.children().into_iter().find(|child| child.resource.is_some_and(|r| r.number == number));
    found.unwrap_or_else(|| panic!("none of {number:?}: {:?}", numbers(node)))
}

/// Both sides have the same SAs, all alike and in one group each; SPIs lead to the workers of the resources; traffic
/// flows.
#[track_caller]
fn assert_alike(pair: &mut Pair, count: usize) {
    let spis = |node: &Node, swap: bool| {
        let of = |c: &ChildStatus| if swap { (c.spi_out, c.spi_in) } else { (c.spi_in, c.spi_out) };
        let mut spis: Vec<_> = node.children().iter().map(of).collect();
        spis.sort_unstable();
        spis
    };
    assert_eq!(spis(&pair.a, false), spis(&pair.b, true));
    for node in [&pair.a, &pair.b] {
        let children = node.children();
        assert_eq!((children.len(), node.installed()), (count, (count, count)));
        let first = &children[0];
        for child in &children {
            assert_eq!((child.encr, child.esn, child.mode), (first.encr, first.esn, first.mode));
            assert_eq!((&child.local_ts, &child.remote_ts), (&first.local_ts, &first.remote_ts));
            assert_eq!(child.resource.map(|r| r.group), first.resource.map(|r| r.group));
            if let Some(number) = child.resource.and_then(|r| r.number) {
                assert_eq!(child.spi_in.0 % WORKERS, number % WORKERS);
            }
        }
    }
    assert!(pair.is_open(NET));
}

fn no_more(node: &Node) -> Vec<u16> {
    let kind = |event: &Event| if let Event::NoMoreResources { notify, .. } = event { Some(*notify) } else { None };
    node.events.iter().filter_map(kind).collect()
}

#[test]
fn a_resource_gets_an_sa_of_its_own() {
    for (initiator, asker) in SIDES.into_iter().flat_map(|a| SIDES.map(|b| (a, b))) {
        let mut pair = agreed(1, initiator);
        for resource in [2, 0, 2, 3, 1, 0] {
            add(&mut pair, asker, resource);
        }
        pair.run();
        assert_alike(&mut pair, 5);
        // The other side spreads them, too.
        for node in [&pair.a, &pair.b] {
            assert_eq!(numbers(node), [None, Some(0), Some(1), Some(2), Some(3)]);
            assert!(failures(node).is_empty() && child_downs(node).is_empty());
        }
        // What is there is not asked for again.
        let sent = pair.node(asker).sent.len();
        add(&mut pair, asker, 2);
        pair.run();
        assert_eq!(pair.node(asker).sent.len(), sent);
    }
}

#[test]
fn nothing_is_lost_while_another_one_comes() {
    for (seed, asker) in (0..10).flat_map(|seed| SIDES.map(|side| (seed, side))) {
        let mut pair = agreed(seed, Side::A);
        // What the responder sends overtakes its response.
        pair.link.faults.jitter = Duration::from_millis(100);
        pair.traffic = Some(Duration::from_millis(5));
        pair.run_for(SECOND);
        for resource in 0..WORKERS {
            add(&mut pair, asker, resource);
            pair.run_for(SECOND);
        }
        pair.traffic = None;
        pair.run();
        pair.run_for(SECOND);
        assert_eq!(pair.probes_lost(), 0);
        assert_alike(&mut pair, 5);
    }
}

#[test]
fn one_that_waits_is_used_when_there_is_no_other() {
    let mut pair = agreed(1, Side::A);
    add(&mut pair, Side::A, 0);
    pair.run();
    let (first, waiting) = (of(&pair.b, None).id, of(&pair.b, Some(0)).id);
    assert!(!pair.b.sends_on(waiting), "A has not shown that it has it");
    pair.command(Side::B, Command::DeleteChild(first));
    pair.run();
    assert!(pair.b.sends_on(waiting));
    assert_alike(&mut pair, 1);
}

#[test]
fn all_are_alike_whatever_else_is_configured_by_now() {
    let mut pair = tunnel(1, Side::A, |side, scenario| {
        several(side, scenario);
        scenario.child.proposals = proposals(Protocol::Esp, "aes256gcm16-aes128gcm16-esn-noesn");
    });
    for side in SIDES {
        let config = Scenario::psk(side).with(|scenario| {
            several(side, scenario);
            scenario.child.proposals = proposals(Protocol::Esp, "aes128gcm16-aes256gcm16-x25519-noesn-esn");
        });
        pair.reload(side, config.build());
    }
    pair.run();
    add(&mut pair, Side::A, 0);
    add(&mut pair, Side::B, 1);
    pair.run();
    assert_alike(&mut pair, 3);
    assert_eq!((pair.a.children()[2].encr.name, pair.a.children()[2].esn), ("aes256gcm16", true));
}

/// A side that has one SA for all resources.
fn wants_no_more(side: Side) -> Config {
    Scenario::psk(side).with(|scenario| scenario.config.workers = WORKERS).build()
}

/// A side with these ESP proposals.
fn with_esp(side: Side, esp: &str) -> Config {
    let bend = |scenario: &mut Scenario| {
        several(side, scenario);
        scenario.child.proposals = proposals(Protocol::Esp, esp);
    };
    Scenario::psk(side).with(bend).build()
}

#[test]
fn a_group_whose_cipher_is_configured_no_more_waits_for_its_successor() {
    for queued in [false, true] {
        let both = "aes256gcm16-aes128gcm16";
        let mut pair = Pair::new(1, with_esp(Side::A, both), with_esp(Side::B, both));
        initiate(&mut pair, Side::A);
        if queued {
            add(&mut pair, Side::A, 0);
            add(&mut pair, Side::A, 1);
        }
        pair.reload(Side::A, with_esp(Side::A, "aes128gcm16"));
        pair.run();
        let (sent, count) = (pair.a.sent.len(), if queued { 2 } else { 1 });
        add(&mut pair, Side::A, 2);
        pair.run();
        assert_eq!(pair.a.sent.len(), sent, "there is nothing to offer");
        assert!(ike_downs(&pair.a).is_empty() && ike_downs(&pair.b).is_empty());
        assert!(failures(&pair.a).is_empty() && failures(&pair.b).is_empty());
        assert_alike(&mut pair, count);
    }
    // Those that have been rekeyed are of the new one, and so is what joins them.
    let mut pair = Pair::new(1, with_esp(Side::A, "aes256gcm16"), with_esp(Side::B, "aes256gcm16-aes128gcm16"));
    initiate(&mut pair, Side::A);
    pair.reload(Side::A, with_esp(Side::A, "aes128gcm16"));
    let first = of(&pair.a, None).id;
    pair.command(Side::A, Command::RekeyChild(first));
    pair.run();
    add(&mut pair, Side::A, 3);
    pair.run_for(60 * SECOND);
    assert_alike(&mut pair, 2);
    assert_eq!(of(&pair.a, Some(3)).encr.name, "aes128gcm16");
}

#[test]
fn whoever_was_rekeyed_by_another_configuration_gets_more_of_its_kind() {
    for asker in SIDES {
        let side = |side| with_esp(side, "aes256gcm16-aes128gcm16");
        let mut pair = Pair::new(1, side(Side::A), side(Side::B));
        initiate(&mut pair, Side::A);
        add(&mut pair, asker, 0);
        pair.run();
        for side in SIDES {
            pair.reload(side, with_esp(side, "aes128gcm16-aes256gcm16"));
        }
        let first = of(&pair.a, None).id;
        pair.command(Side::A, Command::RekeyChild(first));
        pair.run_for(60 * SECOND);
        // One is asked for beside the one that was rekeyed, one beside the other.
        for (beside, resource) in [(None, 1), (Some(0), 2)] {
            let child = of(pair.node(asker), beside);
            pair.command(asker, Command::AddResource { child: child.id, resource });
            pair.run();
            assert_eq!(of(pair.node(asker), Some(resource)).encr, child.encr);
        }
        assert_eq!((numbers(&pair.a).len(), numbers(&pair.b).len()), (4, 4));
        // A configuration that has none of theirs is no failure, either.
        pair.reload(asker.other(), with_esp(asker.other(), "chacha20poly1305"));
        let child = of(pair.node(asker), None).id;
        pair.command(asker, Command::AddResource { child, resource: 3 });
        pair.run();
        assert_eq!(no_more(pair.node(asker)), [14]);
        assert!(failures(&pair.a).is_empty() && failures(&pair.b).is_empty());
    }
}

#[test]
fn a_peer_that_does_not_want_several_is_asked_for_none() {
    for (initiator, willing) in SIDES.into_iter().flat_map(|a| SIDES.map(|b| (a, b))) {
        let mut pair = tunnel(1, initiator, |side, scenario| scenario.child.per_resource_sas = side == willing);
        for node in [&pair.a, &pair.b] {
            assert!(node.children().iter().all(|child| child.resource.is_none()));
        }
        let sent = pair.node(willing).sent.len();
        add(&mut pair, willing, 0);
        pair.run();
        assert_eq!(pair.node(willing).sent.len(), sent);
        assert_up(&mut pair);
    }
}

#[test]
fn ts_max_queue_ends_the_asking_and_nothing_else() {
    let mut pair = agreed(1, Side::A);
    add(&mut pair, Side::A, 0);
    pair.run();
    // B wants no more from now on.
    pair.reload(Side::B, wants_no_more(Side::B));
    let sent = pair.a.sent.len();
    for resource in 1..4 {
        add(&mut pair, Side::A, resource);
    }
    pair.run();
    assert_eq!((no_more(&pair.a), pair.a.sent.len()), (vec![48], sent + 1), "asked once for all");
    for resource in 1..4 {
        add(&mut pair, Side::A, resource);
    }
    let first = of(&pair.a, None).id;
    pair.command(Side::A, Command::RekeyChild(first));
    pair.run_for(60 * SECOND);
    let sent = pair.a.sent.len();
    add(&mut pair, Side::A, 2);
    pair.run();
    assert_eq!(pair.a.sent.len(), sent, "nor for the successor's sake");
    assert_alike(&mut pair, 2);
    let again =
        |node: &Node| node.events.iter().filter(|e| matches!(e, Event::ResourcesAgain { resource: None, .. })).count();
    assert_eq!(again(&pair.a), 0);
    pair.run_for(cygnet_ike::limits::RESOURCE_SA_RETRY);
    assert_eq!((again(&pair.a), again(&pair.b)), (1, 0));
    pair.reload(Side::B, with_esp(Side::B, "aes128gcm16"));
    add(&mut pair, Side::A, 2);
    pair.run();
    assert_alike(&mut pair, 3);
    assert!(failures(&pair.a).is_empty() && failures(&pair.b).is_empty());
}

#[test]
fn what_waits_for_its_turn_is_not_asked_for_once_it_is_wanted_no_more() {
    let mut pair = agreed(1, Side::A);
    for resource in 0..3 {
        add(&mut pair, Side::A, resource);
    }
    pair.reload(Side::A, wants_no_more(Side::A));
    pair.run();
    assert_alike(&mut pair, 2);
}

#[test]
fn there_is_a_bound() {
    let mut pair = agreed(1, Side::A);
    let bound = cygnet_ike::limits::RESOURCE_SAS as u32;
    for resource in 0..bound + 3 {
        add(&mut pair, Side::A, resource);
    }
    pair.run();
    assert_alike(&mut pair, 1 + bound as usize);
    // The other way round, they are all at once on their way: the peer says when it is enough.
    add(&mut pair, Side::B, 7);
    pair.run();
    assert_alike(&mut pair, 1 + bound as usize);
    // There may be room again: B's worker hears of it.
    pair.run_for(cygnet_ike::limits::RESOURCE_SA_RETRY);
    assert!(pair.b.events.iter().any(|event| matches!(event, Event::ResourcesAgain { .. })));
}

#[test]
fn each_is_rekeyed_in_its_place_without_loss() {
    for (rekeyer, number) in SIDES.into_iter().flat_map(|a| [None, Some(1), Some(3)].map(|n| (a, n))) {
        let mut pair = agreed(2, Side::A);
        for resource in 0..WORKERS {
            add(&mut pair, Side::A, resource);
        }
        pair.run();
        let before = SIDES.map(|side| of(pair.node(side), number));
        pair.traffic = Some(Duration::from_millis(5));
        pair.run_for(SECOND);
        for _ in 0..3 {
            let child = of(pair.node(rekeyer), number).id;
            pair.command(rekeyer, Command::RekeyChild(child));
            pair.run_for(10 * SECOND);
        }
        pair.traffic = None;
        pair.run();
        pair.run_for(10 * SECOND);
        assert_eq!(pair.probes_lost(), 0);
        assert_alike(&mut pair, 5);
        for (side, before) in SIDES.into_iter().zip(before) {
            let after = of(pair.node(side), number);
            assert_ne!(after.spi_in, before.spi_in);
            assert_eq!(after.spi_in.0 % WORKERS, before.spi_in.0 % WORKERS, "its inbound worker stays");
            assert_eq!(numbers(pair.node(side)), [None, Some(0), Some(1), Some(2), Some(3)]);
        }
    }
}

#[test]
fn a_rekeyed_ike_sa_keeps_them_and_gets_more() {
    let mut pair = agreed(3, Side::A);
    add(&mut pair, Side::A, 0);
    pair.run();
    let ike = the_ike(&pair.b);
    pair.command(Side::B, Command::RekeyIke(ike));
    pair.run();
    add(&mut pair, Side::B, 1);
    pair.run();
    assert_alike(&mut pair, 3);
}

#[test]
fn the_others_go_on_when_one_is_deleted_even_the_first() {
    for deleter in SIDES {
        let mut pair = agreed(4, Side::A);
        add(&mut pair, Side::A, 0);
        add(&mut pair, Side::A, 1);
        pair.run();
        pair.run_for(60 * SECOND);
        let idle = of(pair.node(deleter), Some(0)).id;
        pair.command(deleter, Command::DeleteChild(idle));
        pair.run();
        assert_alike(&mut pair, 2);
        // It was idle; now there is traffic.
        add(&mut pair, Side::A, 0);
        pair.run();
        assert_alike(&mut pair, 3);
        let first = of(pair.node(deleter), None).id;
        pair.command(deleter, Command::DeleteChild(first));
        pair.run();
        assert_alike(&mut pair, 2);
        add(&mut pair, Side::B, 3);
        pair.run();
        assert_alike(&mut pair, 3);
        pair.run_for(60 * SECOND);
        // The last one takes the tunnel with it.
        while let Some(child) = pair.node(deleter).children().first() {
            let child = child.id;
            pair.command(deleter, Command::DeleteChild(child));
            pair.run();
        }
        assert!(!pair.is_open(NET));
        initiate(&mut pair, Side::A);
        assert_eq!((numbers(&pair.a), numbers(&pair.b)), (vec![None], vec![None]));
        add(&mut pair, Side::A, 0);
        pair.run();
        assert_alike(&mut pair, 2);
    }
}

#[test]
fn one_that_the_peer_deletes_at_once_is_not_asked_for_again() {
    let mut pair = agreed(5, Side::A);
    add(&mut pair, Side::A, 0);
    pair.run();
    let child = of(&pair.b, Some(0)).id;
    pair.command(Side::B, Command::DeleteChild(child));
    pair.run();
    let sent = pair.a.sent.len();
    add(&mut pair, Side::A, 0);
    pair.run();
    assert_eq!(pair.a.sent.len(), sent);
    // That says nothing of others, even if those are deleted soon after a rekey.
    add(&mut pair, Side::A, 1);
    pair.run_for(60 * SECOND);
    let rekeyed = of(&pair.a, Some(1)).id;
    pair.command(Side::A, Command::RekeyChild(rekeyed));
    pair.run();
    let idle = pair.b.children()[1].id;
    pair.command(Side::B, Command::DeleteChild(idle));
    pair.run();
    assert_eq!(numbers(&pair.a), [None]);
    add(&mut pair, Side::A, 1);
    pair.run();
    assert_eq!(numbers(&pair.a), [None, Some(1)]);
    // Later on, it may want it.
    pair.run_for(cygnet_ike::limits::RESOURCE_SA_RETRY);
    assert!(pair.a.events.iter().any(|event| matches!(event, Event::ResourcesAgain { resource: Some(0), .. })));
    add(&mut pair, Side::A, 0);
    pair.run();
    assert_eq!(numbers(&pair.a), [None, Some(0), Some(1)]);
}

#[test]
fn a_child_that_is_kept_up_comes_back_unless_all_of_it_was_deleted_by_command() {
    for all in [false, true] {
        let mut pair = tunnel(4, Side::A, |side, scenario| {
            several(side, scenario);
            if side == Side::A {
                scenario.child.start = StartAction::Start;
            }
        });
        for resource in 0..3 {
            add(&mut pair, Side::A, resource);
        }
        pair.run();
        let children = pair.a.children();
        for child in children.iter().filter(|child| all || child.resource.is_some_and(|r| r.number == Some(1))) {
            pair.command(Side::A, Command::DeleteChild(child.id));
        }
        pair.run();
        assert_eq!(pair.b.children().len(), if all { 0 } else { 3 });
        for child in pair.b.children() {
            pair.command(Side::B, Command::DeleteChild(child.id));
        }
        pair.run_for(60 * SECOND);
        assert_eq!(pair.is_open(NET), !all);
    }
}

#[test]
fn a_child_that_is_kept_up_comes_back_though_one_more_beside_it_was_on_its_way() {
    for asked in [1, 3] {
        let side = |side| {
            let bend = |scenario: &mut Scenario| {
                several(side, scenario);
                scenario.child.proposals = proposals(Protocol::Esp, "aes256gcm16-aes128gcm16");
                scenario.child.start = if side == Side::A { StartAction::Start } else { StartAction::None };
            };
            Scenario::psk(side).with(bend).build()
        };
        let mut pair = Pair::new(4, side(Side::A), side(Side::B));
        pair.run_for(SECOND);
        assert_alike(&mut pair, 1);
        pair.reload(Side::B, with_esp(Side::B, "aes128gcm16"));
        for resource in 0..asked {
            add(&mut pair, Side::A, resource);
        }
        let first = of(&pair.b, None).id;
        pair.command(Side::B, Command::DeleteChild(first));
        pair.run_for(120 * SECOND);
        assert_alike(&mut pair, 1);
    }
}

#[test]
fn both_sides_may_ask_rekey_and_delete_at_once() {
    for seed in 0..40 {
        let mut pair = agreed(seed, Side::A);
        for resource in 0..WORKERS {
            for side in SIDES {
                add(&mut pair, side, resource);
            }
        }
        pair.run();
        let count = pair.a.children().len();
        assert!((5..=9).contains(&count), "seed {seed}: {count}");
        assert_alike(&mut pair, count);
        for side in SIDES {
            for child in pair.node(side).children() {
                pair.command(side, Command::RekeyChild(child.id));
            }
        }
        pair.run_for(60 * SECOND);
        assert_alike(&mut pair, count);
        let twice = pair.a.children()[1].clone();
        let same = pair.b.children().into_iter().find(|child| child.spi_in == twice.spi_out).unwrap();
        pair.command(Side::A, Command::DeleteChild(twice.id));
        pair.command(Side::B, Command::DeleteChild(same.id));
        pair.run();
        assert_alike(&mut pair, count - 1);
    }
}

#[test]
fn nothing_is_lost_by_a_network_that_loses() {
    for seed in 0..60 {
        let mut pair = agreed(seed, Side::A);
        pair.link.faults = Faults::ROUGH;
        for round in 0..4 {
            let side = if pair.link.chance(0.5) { Side::A } else { Side::B };
            let children = pair.node(side).children();
            let some = children[pair.link.below(children.len())].id;
            let resource = pair.link.below(WORKERS as usize) as u32;
            let command = match pair.link.below(4) {
                0 if round > 1 => Command::RekeyChild(some),
                1 if round > 1 && children.len() > 1 => Command::DeleteChild(some),
                _ => Command::AddResource { child: some, resource },
            };
            pair.command(side, command);
            pair.run_for(5 * SECOND);
        }
        pair.link.faults = Faults::NONE;
        pair.run_for(60 * SECOND);
        let count = pair.a.children().len();
        assert!(count > 0, "seed {seed}");
        assert_alike(&mut pair, count);
    }
}

/// Both sides ask for the first one at once, on the same IKE SA.
#[test]
fn two_first_ones_are_of_one_group() {
    for seed in 0..20 {
        let mut pair = agreed(seed, Side::A);
        pair.link.faults.jitter = Duration::from_millis(if seed < 10 { 0 } else { 100 });
        let first = of(&pair.a, None).id;
        pair.command(Side::A, Command::DeleteChild(first));
        pair.run();
        for side in SIDES {
            pair.command(side, Command::Initiate { connection: "net".into(), child: None });
        }
        pair.run();
        let count = pair.a.children().len();
        assert!((1..=2).contains(&count) && (seed >= 10 || count == 2), "seed {seed}: {count}");
        assert_alike(&mut pair, count);
        for (resource, side) in (0..).zip(SIDES) {
            add(&mut pair, side, resource);
            pair.run();
        }
        let count = pair.a.children().len();
        assert_alike(&mut pair, count);
        for side in SIDES {
            assert!(failures(pair.node(side)).is_empty() && pair.node(side).ike_sas().len() == 1);
        }
    }
}

/// Both sides start at once: what is there twice goes, and what is left has room for more.
#[test]
fn two_ike_sas_become_one_with_all_that_is_wanted() {
    for seed in 0..20 {
        let mut pair = psk(seed, several);
        for side in SIDES {
            pair.command(side, Command::Initiate { connection: "net".into(), child: None });
        }
        pair.run();
        for side in SIDES {
            add(&mut pair, side, 1);
        }
        pair.run_for(60 * SECOND);
        assert_eq!((pair.a.ike_sas().len(), pair.b.ike_sas().len()), (1, 1), "seed {seed}");
        add(&mut pair, Side::A, 2);
        pair.run();
        let count = pair.a.children().len();
        assert!(count >= 2, "seed {seed}");
        assert_alike(&mut pair, count);
    }
}
