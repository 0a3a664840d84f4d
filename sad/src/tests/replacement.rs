use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

fn successor(id: u64, old: u64, activation: Activation) -> NewPair {
    NewPair { replaces: Some(PairId(old)), activation, ..new(id, "10.2.0.0/16") }
}

const ACTIVATED: Usage = Usage { activated: true, ..Usage::NOTHING };

#[test]
fn the_initiator_of_a_rekey_sends_on_the_new_pair_at_once() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    sad.install(at(1), successor(2, 1, Activation::Now)).unwrap();
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(2));
    assert!(receive(&sad, 1, 1).is_nothing(), "what is under way on the old pair still arrives");
    assert!(receive(&sad, 2, 1).is_nothing(), "nothing to tell: it was active");
    sad.remove(PairId(1)).unwrap();
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(2));
}

#[test]
fn the_responder_waits_for_traffic_on_the_new_pair() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    sad.install(at(1), successor(2, 1, Activation::OnUse)).unwrap();
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(1));
    assert!(receive(&sad, 1, 1).is_nothing());
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(1));
    assert_eq!(receive(&sad, 2, 1), ACTIVATED);
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(2));
    assert!(receive(&sad, 2, 1).is_nothing());
}

#[test]
fn the_responder_waits_for_a_command() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    sad.install(at(1), successor(2, 1, Activation::OnUse)).unwrap();
    assert!(sad.activate(PairId(2)));
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(2));
    assert!(receive(&sad, 2, 1).is_nothing());
    assert!(!sad.activate(PairId(3)));
}

#[test]
fn the_responder_waits_for_the_delete_of_the_old_pair() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    sad.install(at(1), successor(2, 1, Activation::OnUse)).unwrap();
    sad.remove(PairId(1)).unwrap();
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(2));
}

#[test]
fn nothing_to_replace_is_nothing_to_wait_for() {
    let sad = Sad::new();
    sad.install(at(1), successor(2, 1, Activation::OnUse)).unwrap();
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(2));
}

#[test]
fn a_successor_that_fails_leaves_the_old_pair_in_use() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    sad.install(at(1), successor(2, 1, Activation::Now)).unwrap();
    sad.remove(PairId(2)).unwrap();
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(1));
    sad.remove(PairId(1)).unwrap();
    assert_eq!(chosen(&sad, "10.2.0.1"), None);
}

#[test]
fn an_activation_that_could_not_be_told_stays_done() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    let pair = sad.install(at(1), successor(2, 1, Activation::OnUse)).unwrap();
    pair.tell_again(receive(&sad, 2, 1));
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(2));
    assert_eq!(receive(&sad, 2, 1), ACTIVATED);
}

#[test]
fn a_retired_pair_receives_and_does_not_send() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    sad.install(at(0), new(2, "10.2.0.0/16")).unwrap();
    assert!(sad.retire_outbound(PairId(2)));
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(1), "its twin sends");
    assert!(receive(&sad, 2, 1).is_nothing(), "it still receives");
    assert!(sad.activate(PairId(2)));
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(1), "and stays retired");
    assert_eq!(sad.status(PairId(2)).unwrap().standing, Standing::Retired);
    sad.remove(PairId(2)).unwrap();
    assert!(!sad.retire_outbound(PairId(2)));
    assert!(sad.retire_outbound(PairId(1)));
    assert_eq!(chosen(&sad, "10.2.0.1"), None);
}

#[test]
fn a_retired_pair_that_waits_has_nothing_to_tell() {
    let sad = Sad::new();
    sad.install(at(0), NewPair { activation: Activation::OnUse, ..new(1, "10.2.0.0/16") }).unwrap();
    sad.retire_outbound(PairId(1));
    assert!(receive(&sad, 1, 1).is_nothing());
    assert_eq!(chosen(&sad, "10.2.0.1"), None);
}

#[test]
fn an_edit_is_seen_whole_or_not_at_all() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    let before = sad.snapshot();
    sad.edit(|edit| {
        edit.remove(PairId(1)).unwrap();
        edit.install(at(1), new(2, "10.2.0.0/16")).unwrap();
        assert_eq!(chosen(&sad, "10.2.0.1"), Some(1));
    });
    assert_eq!(before.outbound(POLICY, &to("10.2.0.1")).unwrap().id(), PairId(1));
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(2));
}

#[test]
fn readers_always_find_a_pair_while_it_is_rekeyed() {
    let sad = Sad::new();
    sad.install(at(0), new(0, "10.2.0.0/16")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = || {
            let (mut newest, mut batches) = (0, 0u64);
            while !done.load(Ordering::Relaxed) || batches == 0 {
                let tables = sad.snapshot();
                let sa = tables.outbound(POLICY, &to("10.2.0.1")).expect("make before break");
                assert!(tables.inbound(sa.esp().spi()).is_some());
                assert!(sa.id().0 >= newest, "never back to an older pair");
                newest = sa.id().0;
                batches += 1;
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for id in 1..500 {
            sad.install(at(id), successor(id, id - 1, Activation::OnUse)).unwrap();
            let _ = receive(&sad, id, 1);
            sad.remove(PairId(id - 1)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

/// What a worker does with [`Sad::generation`].
#[derive(Default)]
struct Cache {
    generation: u64,
    answer: Option<std::sync::Arc<OutboundSa>>,
}

impl Cache {
    fn batch(&mut self, sad: &Sad) -> u64 {
        let generation = sad.generation();
        if generation != self.generation {
            *self = Self { generation, answer: None };
        }
        let tables = sad.snapshot();
        let found = || tables.outbound(POLICY, &to("10.2.0.1")).expect("make before break").clone();
        self.answer.get_or_insert_with(found).id().0
    }
}

#[test]
fn a_cached_flow_moves_when_traffic_activates_the_new_pair() {
    let (sad, mut cache) = (Sad::new(), Cache::default());
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    sad.install(at(1), successor(2, 1, Activation::OnUse)).unwrap();
    assert_eq!(cache.batch(&sad), 1);
    let before = sad.generation();
    assert!(receive(&sad, 1, 1).is_nothing());
    assert_eq!(sad.generation(), before, "ordinary traffic costs no cache");
    assert_eq!(receive(&sad, 2, 1), ACTIVATED);
    assert_eq!(cache.batch(&sad), 2);
}

#[test]
fn a_cached_sa_is_wiped_after_its_removal() {
    let (sad, mut cache) = (Sad::new(), Cache::default());
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    cache.batch(&sad);
    let keys = std::sync::Arc::downgrade(cache.answer.as_ref().unwrap());
    sad.edit(|edit| {
        edit.remove(PairId(1));
        edit.install(at(1), new(2, "10.2.0.0/16")).unwrap();
    });
    assert!(keys.upgrade().is_some(), "the cache holds it until its next batch");
    assert_eq!(cache.batch(&sad), 2);
    assert!(keys.upgrade().is_none());
}

#[test]
fn a_path_or_an_mtu_that_changes_leaves_caches_alone() {
    let sad = Sad::new();
    let pair = sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    let before = sad.generation();
    sad.update_peer(PairId(1), "198.51.100.7:1024".parse().unwrap());
    pair.set_inner_mtu(Some(1400));
    assert_eq!(sad.generation(), before);
}

#[test]
fn cached_flows_never_use_a_pair_after_its_successor() {
    let sad = Sad::new();
    sad.install(at(0), new(0, "10.2.0.0/16")).unwrap();
    let (done, active) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let reader = || {
            let (mut cache, mut batches) = (Cache::default(), 0u64);
            while !done.load(Ordering::Relaxed) || batches == 0 {
                // Read before the batch begins: what was active by then is what it must use, or a newer one.
                let active = active.load(Ordering::Acquire);
                assert!(cache.batch(&sad) >= active);
                batches += 1;
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for id in 1..500 {
            sad.install(at(id), successor(id, id - 1, Activation::OnUse)).unwrap();
            let _ = receive(&sad, id, 1);
            active.store(id, Ordering::Release);
            sad.remove(PairId(id - 1)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}
