//! Policies and SAs are replaced under load, and no packet is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cygnet::workers::Outbound;
use cygnet_esp::ENCR;
use cygnet_sad::PairId;
use cygnet_spd::{Action, Policies, Selector, Terms};

use crate::support::{A, B, Host, POLICY, packet, pair, policy, successor};

/// How often everything is replaced.
const TIMES: u32 = 100;

#[test]
fn replacing_everything_under_load_loses_nothing() {
    let (mut a, mut b) = pair(&ENCR[0]);
    let round = AtomicU32::new(0);
    let (here, there) = (Arc::clone(&a.path), Arc::clone(&b.path));
    let mut seen = 0;
    std::thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            for n in 1..=TIMES {
                let install = |path: &cygnet::workers::DataPath, side, other| {
                    path.sad.install(Instant::now(), successor(&ENCR[0], side, other, n)).expect("new names");
                };
                install(&there, 2, 1);
                install(&here, 1, 2);
                let all = || vec!["10.0.0.0/8".parse().expect("a selector")];
                let selector = Selector { local: all(), remote: all() };
                let entry = policy(selector, Action::Protect(POLICY), Terms::default());
                here.policies.store(Arc::new(Policies::new(vec![entry; n as usize])));
                here.sad.remove(PairId(n.into()));
                // What was sealed for the old one has arrived once a whole round began after this.
                let now = round.load(Ordering::Acquire);
                while round.load(Ordering::Acquire) < now + 2 {
                    std::thread::yield_now();
                }
                there.sad.remove(PairId(n.into()));
            }
        });
        while !replacing.is_finished() {
            let packets: Vec<_> = (0..16).map(|n| packet(A, [10, 2, 0, n], 100, n)).collect();
            a.sends(&packets);
            let mut arrived = b.receives();
            arrived.sort();
            assert_eq!(arrived, packets, "round {}", round.load(Ordering::Relaxed));
            seen += packets.len() as u64;
            round.fetch_add(1, Ordering::AcqRel);
        }
        replacing.join().expect("no panic");
    });
    assert_eq!(a.sent(Outbound::Sealed), seen);
    assert!(seen >= u64::from(TIMES) * 16);
    assert_eq!((here.sad.statuses().len(), there.sad.statuses().len()), (1, 1));
}

#[test]
fn a_warm_flow_follows_what_changes() {
    let (mut a, mut b) = pair(&ENCR[0]);
    let one = [packet(A, B, 100, 1)];
    for _ in 0..3 {
        a.sends(&one);
        assert_eq!(b.receives(), one);
    }
    // Its policy says otherwise now.
    let all = || vec!["10.0.0.0/8".parse().expect("a selector")];
    let bypass = || policy(Selector { local: all(), remote: all() }, Action::Bypass, Terms::default());
    let before = a.path.policies.swap(Arc::new(Policies::new(vec![bypass()])));
    a.sends(&one);
    assert_eq!(a.clear(), one);
    a.path.policies.store(before);
    // Its SA is gone, then another is there.
    let pair = Arc::downgrade(&a.path.sad.remove(PairId(1)).expect("installed").pair);
    a.sends(&one);
    assert_eq!(a.sent(Outbound::NoSa), 1);
    assert_eq!(pair.strong_count(), 0, "nothing keeps the old one");
    a.path.sad.install(Instant::now(), successor(&ENCR[0], 1, 2, 0)).expect("an empty SAD");
    b.path.sad.remove(PairId(1));
    b.path.sad.install(Instant::now(), successor(&ENCR[0], 2, 1, 0)).expect("an empty SAD");
    a.sends(&one);
    assert_eq!(b.receives(), one);
}

#[test]
fn an_idle_worker_keeps_no_keys() {
    let (a, _b) = pair(&ENCR[0]);
    let Host { path, tun, mut outbound, .. } = a;
    let worker = std::thread::spawn(move || outbound.run());
    let soon = |done: &dyn Fn() -> bool| {
        (0..500).any(|_| {
            done() || {
                std::thread::sleep(Duration::from_millis(10));
                false
            }
        })
    };
    assert!(tun.inject(&packet(A, B, 100, 1)));
    assert!(soon(&|| path.counters.outbound_total(Outbound::Sealed) == 1));
    let pair = Arc::downgrade(&path.sad.remove(PairId(1)).expect("installed").pair);
    assert!(soon(&|| pair.strong_count() == 0), "a worker without packets keeps an SA alive");
    path.tun.stop();
    worker.join().expect("no panic").expect("the device was stopped");
}
