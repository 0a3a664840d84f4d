use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn limits(octets: Option<u64>, packets: Option<u64>, seconds: Option<u64>) -> Limits {
    Limits { octets, packets, time: seconds.map(Duration::from_secs) }
}

fn with(soft: Limits, hard: Limits) -> Sad {
    let sad = Sad::new();
    sad.install(at(0), NewPair { lifetime: Lifetime { soft, hard }, ..new(1, "10.2.0.0/16") }).unwrap();
    sad
}

const SOFT: Usage = Usage { soft: true, ..Usage::NOTHING };
const HARD: Usage = Usage { hard: true, ..Usage::NOTHING };

#[test]
fn each_limit_is_told_once() {
    let sad = with(limits(None, Some(2), None), limits(None, Some(4), None));
    let told: Vec<Usage> = (0..4).map(|_| send(&sad, "10.2.0.1", 1)).collect();
    assert_eq!(told, [Usage::NOTHING, SOFT, Usage::NOTHING, HARD]);
    assert_eq!(chosen(&sad, "10.2.0.1"), None, "past the hard limit nothing is sent");
    assert!(sad.snapshot().inbound(Spi(1001)).is_none(), "or received");
}

#[test]
fn octets_count_in_either_direction_apart() {
    let sad = with(limits(Some(1000), None, None), limits(Some(2000), None, None));
    assert!(receive(&sad, 1, 999).is_nothing());
    assert!(send(&sad, "10.2.0.1", 999).is_nothing());
    assert_eq!(receive(&sad, 1, 1), SOFT);
    assert!(send(&sad, "10.2.0.1", 1).is_nothing(), "one rekey serves both");
    assert_eq!(send(&sad, "10.2.0.1", 1000), HARD);
}

#[test]
fn a_batch_may_set_off_both() {
    let sad = with(limits(Some(10), None, None), limits(Some(20), None, None));
    assert_eq!(send(&sad, "10.2.0.1", 30), Usage { soft: true, hard: true, activated: false });
}

#[test]
fn what_could_not_be_delivered_is_told_again() {
    let sad = with(limits(None, Some(1), None), Limits::default());
    let usage = send(&sad, "10.2.0.1", 1);
    assert_eq!(usage, SOFT);
    assert!(send(&sad, "10.2.0.1", 1).is_nothing());
    sad.status(PairId(1)).unwrap().pair.tell_again(usage);
    assert_eq!(send(&sad, "10.2.0.1", 1), SOFT);
    assert!(send(&sad, "10.2.0.1", 1).is_nothing());
}

#[test]
fn time() {
    let sad = with(limits(None, None, Some(60)), limits(None, None, Some(70)));
    assert_eq!(sad.next_deadline(), Some(at(60)));
    assert_eq!(sad.expired(at(59)), []);
    assert_eq!(sad.expired(at(60)), [Expiry { pair: PairId(1), limit: Limit::Soft }]);
    assert_eq!(sad.next_deadline(), Some(at(70)));
    assert_eq!(chosen(&sad, "10.2.0.1"), Some(1));
    assert_eq!(sad.expired(at(1000)), [Expiry { pair: PairId(1), limit: Limit::Hard }]);
    assert_eq!(sad.next_deadline(), None);
    assert_eq!(chosen(&sad, "10.2.0.1"), None);
}

#[test]
fn time_and_traffic_tell_once_between_them() {
    let sad = with(limits(None, Some(1), Some(60)), Limits::default());
    assert_eq!(send(&sad, "10.2.0.1", 1), SOFT);
    assert_eq!(sad.expired(at(60)), []);

    let sad = with(limits(None, Some(1), Some(60)), Limits::default());
    assert_eq!(sad.expired(at(60)).len(), 1);
    assert!(send(&sad, "10.2.0.1", 1).is_nothing());
}

#[test]
fn removal_cancels_deadlines() {
    let sad = with(limits(None, None, Some(60)), limits(None, None, Some(70)));
    sad.remove(PairId(1)).unwrap();
    assert_eq!(sad.next_deadline(), None);
    assert_eq!(sad.expired(at(1000)), []);
}

#[test]
fn short_sequence_numbers_ask_for_a_rekey_in_time() {
    let (encr, sad) = (encr(), Sad::new());
    let outbound = Outbound::new(Spi(1001), encr, &key(encr), &[], false).unwrap();
    sad.install(at(0), NewPair { outbound, ..new(1, "10.2.0.0/16") }).unwrap();
    let tables = sad.snapshot();
    let sa = tables.outbound(POLICY, &to("10.2.0.1")).unwrap();
    sa.esp().reserve(0xefff_ffff).unwrap();
    assert!(sa.count(at(0), 1, 1).is_nothing());
    sa.esp().reserve(1).unwrap();
    assert_eq!(sa.count(at(0), 1, 1), SOFT);
    assert!(sa.count(at(0), 1, 1).is_nothing());
}

#[test]
fn counting_nothing_is_no_use() {
    let sad = Sad::new();
    sad.install(at(0), NewPair { activation: Activation::OnUse, ..new(1, "10.2.0.0/16") }).unwrap();
    assert!(sad.snapshot().inbound(Spi(1001)).unwrap().count(at(0), 0, 0).is_nothing());
    assert_eq!(chosen(&sad, "10.2.0.1"), None);
    assert_eq!(sad.status(PairId(1)).unwrap().inbound.last_used, None);
}

#[test]
fn concurrent_workers_tell_once_and_lose_no_count() {
    const WORKERS: u64 = 4;
    const BATCHES: u64 = 5_000;
    let sad = with(limits(None, Some(WORKERS * BATCHES / 2), None), limits(None, Some(WORKERS * BATCHES), None));
    let (soft, hard) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let tables = sad.snapshot();
                let sa = tables.outbound(POLICY, &to("10.2.0.1")).unwrap();
                for _ in 0..BATCHES {
                    let usage = sa.count(at(0), 1, 100);
                    soft.fetch_add(usage.soft.into(), Ordering::Relaxed);
                    hard.fetch_add(usage.hard.into(), Ordering::Relaxed);
                }
            });
        }
    });
    let sent = sad.status(PairId(1)).unwrap().outbound;
    assert_eq!((sent.packets, sent.octets), (WORKERS * BATCHES, WORKERS * BATCHES * 100));
    assert_eq!((soft.into_inner(), hard.into_inner()), (1, 1));
}
