use proptest::prelude::*;

use super::*;

#[test]
fn the_selector_has_the_last_word() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.5..10.2.0.9")).unwrap();
    for (remote, found) in [("10.2.0.4", None), ("10.2.0.5", Some(1)), ("10.2.0.9", Some(1)), ("10.2.0.10", None)] {
        assert_eq!(chosen(&sad, remote), found, "{remote}");
    }
    assert!(sad.snapshot().outbound(PolicyId(2), &to("10.2.0.5")).is_none());
    let elsewhere = Flow { local: [10, 9, 0, 1].into(), ..to("10.2.0.5") };
    assert!(sad.snapshot().outbound(POLICY, &elsewhere).is_none());
}

#[test]
fn several_ranges_and_families() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16 10.3.0.0/16 10.4.0.1 2001:db8:2::/48 10.2.0.0/16[tcp/80]")).unwrap();
    for remote in ["10.2.0.1", "10.3.255.255", "10.4.0.1", "2001:db8:2::9"] {
        assert_eq!(chosen(&sad, remote), Some(1), "{remote}");
    }
    for remote in ["10.5.0.1", "10.4.0.2", "2001:db8:3::9"] {
        assert_eq!(chosen(&sad, remote), None, "{remote}");
    }
    sad.remove(PairId(1)).unwrap();
    let tables = sad.snapshot();
    assert!(tables.is_empty() && tables.outbound.len() == 0 && tables.prefixes.len() == 0, "nothing is left behind");
}

#[test]
fn the_newest_wins_whatever_its_ranges() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.1")).unwrap();
    sad.install(at(0), new(2, "0.0.0.0/0")).unwrap();
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(2));
    sad.install(at(0), new(3, "10.2.0.0/24")).unwrap();
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(3));
    assert_eq!(chosen(&sad, "10.9.0.1"), Some(2));
}

#[derive(Debug, Clone)]
enum Step {
    Install { remote: &'static str, pending: bool, replaces: Option<u64>, resource: Option<(u64, Option<u32>)> },
    Activate(u64),
    Receive(u64),
    Expire(u64),
    Retire(u64),
    Remove(u64),
}

const REMOTES: [&str; 8] = [
    "10.2.0.1",
    "10.2.0.0/30",
    "10.2.0.1..10.2.0.2",
    "10.0.0.0/8",
    "0.0.0.0/0 ::/0",
    "10.2.0.0/31 10.2.0.3",
    "2001:db8:2::/48",
    "2001:db8:2::1",
];

const PROBES: [&str; 6] = ["10.2.0.0", "10.2.0.1", "10.2.0.3", "10.9.0.1", "2001:db8:2::1", "2001:db8:3::1"];

/// Those who send: nobody in particular, and three resources.
const SENDERS: [Option<u32>; 4] = [None, Some(0), Some(1), Some(2)];

/// None, or a place in one of two groups.
fn resource() -> impl Strategy<Value = Option<(u64, Option<u32>)>> {
    prop::option::of((0..2u64, prop::option::of(0..3u32)))
}

/// The pair that a packet to `remote` takes.
fn taken(sad: &Sad, sender: Option<u32>, remote: &str) -> Option<u64> {
    let tables = sad.snapshot();
    let found = match sender {
        None => tables.outbound(POLICY, &to(remote)),
        Some(resource) => tables.outbound_of(resource, POLICY, &to(remote)),
    };
    found.map(|sa| sa.id().0)
}

/// The same for every sender and probe.
fn answers(sad: &Sad) -> Vec<Option<u64>> {
    SENDERS.iter().flat_map(|sender| PROBES.map(|probe| taken(sad, *sender, probe))).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0u64..12;
    prop_oneof![
        4 => (prop::sample::select(&REMOTES[..]), any::<bool>(), prop::option::of(id()), resource())
            .prop_map(|(remote, pending, replaces, resource)| Step::Install { remote, pending, replaces, resource }),
        1 => id().prop_map(Step::Activate),
        2 => id().prop_map(Step::Receive),
        1 => id().prop_map(Step::Expire),
        1 => id().prop_map(Step::Retire),
        2 => id().prop_map(Step::Remove),
    ]
}

/// What the tables mean: a list in order of installation.
struct Known {
    id: u64,
    selector: Selector,
    active: bool,
    retired: bool,
    expired: bool,
    successor: Option<u64>,
    resource: Option<(u64, Option<u32>)>,
}

/// The newest that fits; of its group, the newest of those that suit best.
fn expected(list: &[Known], sender: Option<u32>, remote: &str) -> Option<u64> {
    let usable = |known: &&Known| known.active && !known.retired && !known.expired;
    let fits = |known: &&Known| usable(known) && known.selector.contains(&to(remote));
    let newest = list.iter().rev().find(fits)?;
    let Some((group, _)) = newest.resource else { return Some(newest.id) };
    let beside: Vec<&Known> =
        list.iter().rev().filter(fits).filter(|k| k.resource.is_some_and(|r| r.0 == group)).collect();
    let number = |wanted: Option<u32>| beside.iter().find(|known| known.resource == Some((group, wanted)));
    let own = sender.and_then(|sender| number(Some(sender)));
    own.or(number(None)).or(beside.first()).map(|known| known.id)
}

fn activate(list: &mut [Known], id: u64) {
    for known in list.iter_mut().filter(|known| known.id == id) {
        known.active = true;
    }
}

proptest! {
    #[test]
    fn look_up_agrees_with_a_list(steps in prop::collection::vec(step(), 1..40)) {
        let sad = Sad::new();
        let mut list: Vec<Known> = Vec::new();
        for (id, step) in (0..).zip(steps) {
            let before = (sad.generation(), answers(&sad));
            match step {
                Step::Install { remote, pending, replaces, resource } => {
                    let activation = if pending { Activation::OnUse } else { Activation::Now };
                    let replaces = replaces.map(PairId);
                    let lifetime = Lifetime {
                        hard: Limits { packets: Some(1_000_000), ..Limits::default() },
                        ..Lifetime::default()
                    };
                    let place = resource.map(|(group, number)| Resource { group: PairId(group), number });
                    let pair = NewPair { activation, replaces, lifetime, resource: place, ..new(id, remote) };
                    let selector = pair.selector.clone();
                    sad.install(at(0), pair).unwrap();
                    let old = list.iter_mut().find(|known| Some(PairId(known.id)) == replaces);
                    let active = !pending || (replaces.is_some() && old.is_none());
                    if let Some(old) = old {
                        old.successor = Some(id);
                    }
                    let (retired, expired, successor) = (false, false, None);
                    list.push(Known { id, selector, active, retired, expired, successor, resource });
                }
                Step::Activate(id) => {
                    prop_assert_eq!(sad.activate(PairId(id)), list.iter().any(|known| known.id == id));
                    activate(&mut list, id);
                }
                Step::Receive(id) => {
                    if let Some(sa) = sad.snapshot().inbound(Spi(1000 + id as u32)) {
                        let _ = sa.count(at(0), 1, 1);
                        activate(&mut list, id);
                    }
                }
                Step::Expire(id) => {
                    if let Some(sa) = sad.snapshot().inbound(Spi(1000 + id as u32)) {
                        prop_assert!(sa.count(at(0), 1_000_000, 1).hard);
                    }
                    for known in list.iter_mut().filter(|known| known.id == id) {
                        known.expired = true;
                        known.active = true;
                    }
                }
                Step::Retire(id) => {
                    prop_assert_eq!(sad.retire_outbound(PairId(id)), list.iter().any(|known| known.id == id));
                    for known in list.iter_mut().filter(|known| known.id == id) {
                        known.retired = true;
                    }
                }
                Step::Remove(id) => {
                    let place = list.iter().position(|known| known.id == id);
                    prop_assert_eq!(sad.remove(PairId(id)).is_some(), place.is_some());
                    if let Some(successor) = place.and_then(|place| list.remove(place).successor) {
                        activate(&mut list, successor);
                    }
                }
            }
            prop_assert!(answers(&sad) == before.1 || sad.generation() != before.0, "a cache would not notice");
            let tables = sad.snapshot();
            prop_assert_eq!(tables.len(), list.len());
            for (sender, probe) in SENDERS.into_iter().flat_map(|sender| PROBES.map(|probe| (sender, probe))) {
                prop_assert_eq!(taken(&sad, sender, probe), expected(&list, sender, probe), "{:?} {}", sender, probe);
            }
            for id in 0..40 {
                let there = list.iter().any(|known| known.id == id && !known.expired);
                prop_assert_eq!(tables.inbound(Spi(1000 + id as u32)).is_some(), there);
            }
        }
    }
}
