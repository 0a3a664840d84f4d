use std::sync::atomic::{AtomicBool, Ordering};

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
