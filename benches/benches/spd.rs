//! Policy look-up by the ordered scan of RFC 4301 §4.4.1: first, last and no match, at 10, 1,000 and 10,000 policies.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use cygnet_benches::{flow, policies};
use std::hint::black_box;

fn outbound(c: &mut Criterion) {
    let mut group = c.benchmark_group("spd/outbound");
    for count in [10, 1_000, 10_000] {
        let spd = policies(count);
        for (name, n) in [("first", 0), ("last", count - 1), ("none", count)] {
            let flow = flow(n);
            group.bench_function(BenchmarkId::new(name, count), |b| b.iter(|| spd.outbound(black_box(&flow))));
        }
    }
    group.finish();
}

criterion_group!(benches, outbound);
criterion_main!(benches);
