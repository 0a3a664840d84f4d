use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The definition: every number ever accepted, and RFC 4303's window below the highest.
#[derive(Default)]
struct Oracle(BTreeSet<u64>);

impl Oracle {
    fn top(&self) -> u64 {
        self.0.last().copied().unwrap_or(0)
    }

    fn mark(&mut self, seq: u64, window: u32) -> Result<(), Refused> {
        if seq == 0 || seq.saturating_add(window.into()) <= self.top() {
            Err(Refused::Old)
        } else if self.0.insert(seq) {
            Ok(())
        } else {
            Err(Refused::Replayed)
        }
    }
}

/// Steps from the present top: mostly small, sometimes to the window's edges or far ahead.
fn steps(window: i64) -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        4 => -10..10i64,
        2 => -window - 3..window + 3,
        1 => window * 3..window * 5,
        1 => prop::sample::select(vec![-window, 1 - window, -63, -64, 63, 64, 65, window - 1, window, window + 1]),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #[test]
    fn agrees_with_a_set(
        window in prop::sample::select(vec![64u32, 128, 192, 1024]),
        start in prop::sample::select(vec![0u64, 1, 1000, (1 << 32) - 100, (1 << 32) - 1, (7 << 32) - 1200, 9 << 32]),
        steps in steps(1024),
    ) {
        let mut replay = Replay::new(window, true);
        let mut oracle = Oracle::default();
        if start > 0 {
            // What the window would be after a long life.
            replay.mark(start).unwrap();
            oracle.mark(start, window).unwrap();
        }
        for step in steps {
            let seq = oracle.top().saturating_add_signed(step);
            prop_assert_eq!(replay.check(seq).is_ok(), oracle.clone_mark(seq, window).is_ok());
            // A number in the window or up to 2^32 - window right of it is inferred from its low half.
            if seq + u64::from(window) > oracle.top() {
                prop_assert_eq!(replay.infer(seq as u32), Ok(seq));
            }
            prop_assert_eq!(replay.mark(seq), oracle.mark(seq, window), "number {}", seq);
            prop_assert_eq!(replay.top(), oracle.top());
        }
    }

    #[test]
    fn infers_everything_from_the_bottom_of_the_window_on(
        top in prop_oneof![1..1u64 << 20, (1u64 << 32) - 2000..(1 << 32) + 2000, (5u64 << 32) - 2000..(5 << 32) + 2000, any::<u64>()],
        window in prop::sample::select(vec![64u32, 1024, 4096]),
        ahead in prop_oneof![0..5000u64, (1u64 << 32) - 9000..1 << 32, 0..1u64 << 32],
    ) {
        let mut replay = Replay::new(window, true);
        replay.mark(top.max(1)).unwrap();
        let bottom = i128::from(top.max(1)) - i128::from(window) + 1;
        match u64::try_from(bottom + i128::from(ahead)) {
            Ok(seq) => prop_assert_eq!(replay.infer(seq as u32), Ok(seq)),
            Err(_) => prop_assert_eq!(replay.infer((bottom + i128::from(ahead)) as u32), Err(Refused::Old)),
        }
    }
}

impl Oracle {
    fn clone_mark(&self, seq: u64, window: u32) -> Result<(), Refused> {
        Oracle(self.0.clone()).mark(seq, window)
    }
}

#[test]
fn sizes_are_multiples_of_64_within_bounds() {
    for (asked, window) in [(0, 64), (64, 64), (65, 128), (1000, 1024), (1024, 1024), (u32::MAX, 1 << 20)] {
        assert_eq!(Replay::new(asked, false).window(), window);
    }
}

#[test]
fn without_esn_the_low_half_is_the_number() {
    let mut replay = Replay::new(64, false);
    replay.mark(u64::from(u32::MAX)).unwrap();
    assert_eq!(replay.infer(0), Ok(0));
    assert_eq!(replay.check(0), Err(Refused::Old));
    assert_eq!(replay.check(1), Err(Refused::Old));
    assert_eq!(replay.mark(u64::from(u32::MAX)), Err(Refused::Replayed));
}

#[test]
fn there_is_nothing_before_the_first_number() {
    let replay = Replay::new(1024, true);
    assert_eq!(replay.infer(1), Ok(1));
    assert_eq!(replay.infer(0), Ok(0));
    assert_eq!(replay.infer(u32::MAX - 1022), Err(Refused::Old));
    assert_eq!(replay.infer(u32::MAX - 1023), Ok(u64::from(u32::MAX) - 1023));
}

#[test]
fn there_is_nothing_after_the_last_number() {
    let mut replay = Replay::new(64, true);
    replay.mark(u64::MAX).unwrap();
    assert_eq!(replay.infer(0), Err(Refused::Old));
    assert_eq!(replay.infer(u32::MAX), Ok(u64::MAX));
    assert_eq!(replay.mark(u64::MAX), Err(Refused::Replayed));
    assert_eq!(replay.mark(u64::MAX - 63), Ok(()));
    assert_eq!(replay.mark(u64::MAX - 64), Err(Refused::Old));
}

#[test]
fn without_a_window_everything_is_accepted() {
    let mut replay = Replay::off();
    assert_eq!((replay.window(), replay.top()), (0, 0));
    // A sender whose counter started again, or wrapped (RFC 4303 §3.3.3).
    for low in [5, 5, 1, u32::MAX, 0, 0, 1, 5] {
        let seq = replay.infer(low).unwrap();
        assert_eq!(seq, u64::from(low));
        assert_eq!(replay.check(seq), Ok(()));
        assert_eq!(replay.mark(seq), Ok(()));
    }
    assert_eq!(replay.top(), u64::from(u32::MAX));
}
