//! Policy look-up by the ordered scan of RFC 4301 §4.4.1, by the compiled index and in a warm flow cache, by number of
//! policies: a flow of the first policy, of the last, of none, and of each in turn.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use cygnet_benches::{flow, policies};
use cygnet_spd::{Flow, FlowCache, Policies, Policy, PortRange, Ports, TrafficSelector};
use std::hint::black_box;

const COUNTS: [u32; 4] = [10, 100, 1_000, 10_000];

/// Look-ups that one iteration of "each" makes.
const EACH: u32 = 1_000;

/// Policies on the same two networks that differ in the TCP port alone, which is where look-up by address gives up.
fn by_port(count: u32) -> Policies {
    let entry = |(n, policy): (u32, &Policy)| {
        let mut policy = policy.clone();
        policy.selector.remote = vec![TrafficSelector { protocol: 6, ports: port(n), ..policy.selector.local[0] }];
        policy
    };
    Policies::new((0..).zip(&policies(count)).map(entry).collect())
}

fn port(n: u32) -> PortRange {
    PortRange::single(u16::try_from(n).expect("few policies"))
}

fn flow_by_port(n: u32) -> Flow {
    let ports = Ports::Pair { local: 40_000, remote: port(n).start };
    Flow { remote: [10, 0, 2, 2].into(), ports, ..flow(0) }
}

fn look_up(c: &mut Criterion, shape: &str, policies: fn(u32) -> Policies, flow: fn(u32) -> Flow) {
    let mut group = c.benchmark_group(format!("spd/{shape}"));
    for count in COUNTS {
        let spd = policies(count);
        for (name, n) in [("first", 0), ("last", count - 1), ("none", count)] {
            let flow = flow(n);
            assert_eq!(spd.find(&flow).is_some(), n < count);
            let id = |how| BenchmarkId::new(format!("{name} {how}"), count);
            group.bench_function(id("scan"), |b| b.iter(|| spd.scan(black_box(&flow)).is_some()));
            group.bench_function(id("index"), |b| b.iter(|| spd.find(black_box(&flow)).is_some()));
        }
        // As many flows as look-ups, spread over the policies: what the caches of the processor hold counts.
        let flows: Vec<Flow> = (0..EACH).map(|n| flow(n.wrapping_mul(0x9e37_79b1) % count)).collect();
        let mut cache = FlowCache::new(4 * EACH as usize);
        flows.iter().for_each(|flow| cache.insert(flow, spd.outbound(flow)));
        group.bench_function(BenchmarkId::new("each index", count), |b| {
            b.iter(|| flows.iter().filter(|flow| spd.find(black_box(flow)).is_some()).count());
        });
        group.bench_function(BenchmarkId::new("each warm", count), |b| {
            b.iter(|| flows.iter().filter(|flow| cache.get(black_box(flow)).is_some()).count());
        });
    }
    group.finish();
}

fn outbound(c: &mut Criterion) {
    look_up(c, "by host", policies, flow);
    look_up(c, "by port", by_port, flow_by_port);
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("spd/build");
    group.sample_size(10);
    for count in COUNTS {
        let entries: Vec<Policy> = policies(count).iter().cloned().collect();
        group.bench_function(BenchmarkId::from_parameter(count), |b| b.iter(|| Policies::new(entries.clone())));
    }
    group.finish();
}

criterion_group!(benches, outbound, build);
criterion_main!(benches);
