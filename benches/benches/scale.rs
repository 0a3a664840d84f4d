//! Many SAs at once: what a packet costs in each direction, and what an idle pair of SAs keeps in memory, with 1, 100,
//! 1,000 and 10,000 pairs. Through the real workers, on one thread.
//!
//! Traffic comes in two ways. In trains, as TCP sends: each frame of 32 segments goes through the next SA. And packet by
//! packet, where each goes through another SA than the one before it: what batches gain for one SA is lost then, so that
//! the first column is another kind of work than the others.
//!
//! The counts of SAs take turns, round by round; the figures are medians.

use std::time::{Duration, Instant};

use cygnet_benches::gateways::{Gateways, TRAIN, Traffic};
use cygnet_benches::pair;
use cygnet_sad::Sad;
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const COUNTS: [u32; 4] = [1, 100, 1000, 10_000];
/// Rounds, and packets in each: with 10,000 SAs, all are used.
const ROUNDS: usize = 25;
const PACKETS: u32 = 16_384;

fn main() {
    for count in COUNTS {
        let (octets, pairs) = idle(count);
        println!("{count:>6} SA pairs: {:>5} octets each", octets / pairs);
    }
    let mut gateways = COUNTS.map(Gateways::new);
    for (name, traffic) in [
        ("TCP in trains of 32, 1,400 octets", Traffic::Trains),
        ("each packet another SA, 1,400 octets", Traffic::Singles(1400)),
        ("each packet another SA, 64 octets", Traffic::Singles(64)),
    ] {
        let mut turns = COUNTS.map(|_| (Vec::new(), Vec::new()));
        for round in 0..=ROUNDS {
            for (gateways, (seal, open)) in gateways.iter_mut().zip(&mut turns) {
                gateways.plan(traffic);
                let frames = if traffic == Traffic::Trains { PACKETS / TRAIN } else { PACKETS };
                let start = Instant::now();
                gateways.seal(frames);
                let sealed = start.elapsed();
                let packets = gateways.open();
                assert_eq!(packets, u64::from(PACKETS), "none is lost");
                // The first one makes room.
                if round > 0 {
                    seal.push(sealed);
                    open.push(start.elapsed() - sealed);
                }
            }
        }
        println!("\n{name}: ns per packet");
        println!("{:>10}{:>10}{:>10}{:>10}{:>22}", "SA pairs", "seal", "open", "both", "throughput to one SA");
        let turns = turns.map(|(seal, open)| (median(seal), median(open)));
        for (count, (seal, open)) in COUNTS.iter().zip(turns) {
            let ratio = (turns[0].0 + turns[0].1) / (seal + open);
            println!("{count:>10}{seal:>10.0}{open:>10.0}{:>10.0}{ratio:>22.2}", seal + open);
        }
    }
}

/// Heap octets of idle pairs in a SAD, and how many they are.
fn idle(count: u32) -> (usize, usize) {
    let before = HEAP.current_usage();
    let (sad, now) = (Sad::new(), Instant::now());
    sad.edit(|edit| (0..count).for_each(|n| drop(edit.install(now, pair(n)).expect("names and SPIs are distinct"))));
    (HEAP.current_usage().saturating_sub(before), count as usize)
}

/// Nanoseconds per packet.
fn median(mut all: Vec<Duration>) -> f64 {
    all.sort();
    all[all.len() / 2].as_nanos() as f64 / f64::from(PACKETS)
}
