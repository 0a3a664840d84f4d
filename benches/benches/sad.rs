//! Finding the SA of a packet, and publishing a change, with 10 and 100,000 pairs in the database.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use cygnet_benches::{flow, pair};
use cygnet_esp::Spi;
use cygnet_sad::{PairId, Sad};
use cygnet_spd::PolicyId;
use std::hint::black_box;
use std::time::Instant;

fn database(count: u32) -> Sad {
    let sad = Sad::new();
    let now = Instant::now();
    sad.edit(|edit| {
        for n in 0..count {
            edit.install(now, pair(n)).expect("names and SPIs are distinct");
        }
    });
    sad
}

fn lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("sad");
    for count in [10, 100_000] {
        let sad = database(count);
        let tables = sad.snapshot();
        let n = count / 2;
        let (spi, flow) = (cygnet_benches::spi(n), flow(n));
        group.bench_function(BenchmarkId::new("inbound", count), |b| {
            b.iter(|| tables.inbound(black_box(spi)).is_some())
        });
        group.bench_function(BenchmarkId::new("unknown SPI", count), |b| {
            b.iter(|| tables.inbound(black_box(Spi(0xffff_fff0))).is_some());
        });
        group.bench_function(BenchmarkId::new("outbound", count), |b| {
            b.iter(|| tables.outbound(PolicyId(n), black_box(&flow)).is_some());
        });
        group.bench_function(BenchmarkId::new("snapshot", count), |b| b.iter(|| sad.snapshot()));
        group.bench_function(BenchmarkId::new("install and remove", count), |b| {
            b.iter(|| {
                sad.install(Instant::now(), pair(count)).expect("a free name");
                sad.remove(PairId(u64::from(count)))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
