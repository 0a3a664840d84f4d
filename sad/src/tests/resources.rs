//! Several pairs with the same selectors, each for one worker (RFC 9611).

use super::*;

const FIRST: PairId = PairId(1);

fn one_of(id: u64, number: Option<u32>) -> NewPair {
    NewPair { resource: Some(Resource { group: FIRST, number }), ..new(id, "10.2.0.0/16") }
}

fn sends(sad: &Sad, worker: u32) -> Option<u64> {
    sad.snapshot().outbound_of(worker, POLICY, &to("10.2.0.1")).map(|sa| sa.id().0)
}

#[test]
fn a_worker_sends_on_its_own_or_on_that_of_all() {
    let sad = Sad::new();
    sad.install(at(0), one_of(1, None)).unwrap();
    let before = sad.generation();
    sad.install(at(0), one_of(2, Some(0))).unwrap();
    assert_ne!(sad.generation(), before);
    sad.install(at(0), one_of(3, Some(2))).unwrap();
    assert_eq!([0, 1, 2, 99].map(|worker| sends(&sad, worker)), [2, 1, 3, 1].map(Some));
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(1));
    // All go on when that of all is gone, and when one is.
    sad.remove(FIRST).unwrap();
    assert_eq!([0, 1, 2, 99].map(|worker| sends(&sad, worker)), [2, 3, 3, 3].map(Some));
    sad.remove(PairId(3)).unwrap();
    assert_eq!([0, 1, 2, 99].map(|worker| sends(&sad, worker)), [2; 4].map(Some));
    sad.remove(PairId(2)).unwrap();
    assert_eq!(sends(&sad, 0), None);
}

#[test]
fn a_successor_takes_the_place_of_one() {
    let sad = Sad::new();
    sad.install(at(0), one_of(1, None)).unwrap();
    sad.install(at(0), one_of(2, Some(0))).unwrap();
    let successor =
        |id, old, number| NewPair { replaces: Some(PairId(old)), activation: Activation::OnUse, ..one_of(id, number) };
    sad.install(at(0), successor(3, 2, Some(0))).unwrap();
    sad.install(at(0), successor(4, 1, None)).unwrap();
    assert_eq!((sends(&sad, 0), sends(&sad, 1)), (Some(2), Some(1)), "make before break");
    let _ = receive(&sad, 3, 1);
    assert_eq!((sends(&sad, 0), sends(&sad, 1)), (Some(3), Some(1)));
    sad.remove(PairId(1)).unwrap();
    assert_eq!((sends(&sad, 0), sends(&sad, 1)), (Some(3), Some(4)));
}

#[test]
fn what_another_ike_sa_made_later_comes_before() {
    let sad = Sad::new();
    sad.install(at(0), one_of(1, None)).unwrap();
    sad.install(at(0), one_of(2, Some(0))).unwrap();
    let resource = Some(Resource { group: PairId(3), number: None });
    sad.install(at(0), NewPair { resource, ..new(3, "10.2.0.0/16") }).unwrap();
    assert_eq!(sends(&sad, 0), Some(3), "the peer may not have the older ones any more");
}

#[test]
fn a_worker_asks_once_for_its_own() {
    let sad = Sad::new();
    let alone = sad.install(at(0), new(9, "10.2.0.0/16")).unwrap();
    assert!(!alone.asks_for(0), "the peer did not agree to several");
    sad.remove(PairId(9)).unwrap();
    let first = sad.install(at(0), one_of(1, None)).unwrap();
    assert_eq!([0, 1, 0, 63, 64, 63].map(|worker| first.asks_for(worker)), [true, true, false, true, false, false]);
    first.ask_again(1);
    assert!(first.asks_for(1) && !first.asks_for(0));
    let own = sad.install(at(0), one_of(2, Some(0))).unwrap();
    assert!(!own.asks_for(0) && own.asks_for(1));
    sad.remove(PairId(2)).unwrap();
    assert!(first.asks_for(0), "it is gone");
    assert!(!first.asks_for(1) && !first.asks_for(63));
    sad.ask_again(PairId(7), None);
    assert!(![0, 1, 63].iter().any(|worker| first.asks_for(*worker)), "that is about others");
    sad.ask_again(PairId(1), Some(63));
    assert_eq!([0, 1, 63].map(|worker| first.asks_for(worker)), [false, false, true]);
    let remembered = sad.generation();
    sad.ask_again(PairId(1), None);
    assert!([0, 1, 63].iter().all(|worker| first.asks_for(*worker)));
    assert_ne!(sad.generation(), remembered, "a worker that remembers its SA looks again");
}
