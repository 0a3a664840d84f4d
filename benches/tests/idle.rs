//! What idle SAs keep in memory.

use std::time::Instant;

use cygnet_benches::pair;
use cygnet_sad::Sad;
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Heap octets that a pair with a window of 1,024 may have in the SAD.
const ENOUGH: usize = 4096;

#[test]
fn an_idle_pair_of_sas_is_small() {
    for count in [100, 1000, 10_000] {
        let (sad, now) = (Sad::new(), Instant::now());
        let before = HEAP.current_usage();
        sad.edit(|edit| {
            (0..count).for_each(|n| drop(edit.install(now, pair(n)).expect("names and SPIs are distinct")))
        });
        let each = HEAP.current_usage().saturating_sub(before) / count as usize;
        assert!((1000..=ENOUGH).contains(&each), "{count} pairs: {each} octets each");
    }
}
