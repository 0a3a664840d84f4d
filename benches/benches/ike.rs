//! IKEv2 in memory: reading and writing a message, and whole handshakes (both sides' work, one thread).

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use cygnet_benches::peers::{Auth, Peers, configs};
use cygnet_ike::message::{Message, MessageBuilder, Opener, Sealer};
use std::hint::black_box;

fn codec(c: &mut Criterion) {
    let datagram = Peers::new(&configs(Auth::Psk)).recorded().remove(0);
    let mut group = c.benchmark_group("ike/codec");
    group.throughput(Throughput::Bytes(datagram.len() as u64));
    group.bench_function("decode IKE_SA_INIT", |b| b.iter(|| Message::decode(black_box(&datagram)).is_ok()));
    let message = Message::decode(&datagram).expect("our own message");
    group.bench_function("encode IKE_SA_INIT", |b| {
        b.iter(|| {
            let mut builder = MessageBuilder::new(message.header);
            message.payloads.iter().for_each(|payload| {
                builder.push(black_box(payload));
            });
            builder.encode()
        });
    });
    let encr = cygnet_esp::Encr::find(20, Some(256), None).expect("AES-GCM with 256 bits");
    let keys = vec![7; encr.encryption_len()];
    let mut sealer = Sealer::new(encr, &keys, &[]).expect("legal keys");
    let opener = Opener::new(encr, &keys, &[]).expect("legal keys");
    let mut builder = MessageBuilder::new(message.header);
    message.payloads.iter().for_each(|payload| {
        builder.push(payload);
    });
    group.bench_function("seal and open SK", |b| {
        b.iter(|| {
            let mut sealed = sealer.seal(black_box(&builder)).expect("a short message");
            opener.open(&mut sealed).is_ok()
        });
    });
    group.finish();
}

fn handshake(c: &mut Criterion) {
    let mut group = c.benchmark_group("ike/handshake");
    group.throughput(Throughput::Elements(1));
    for (name, auth) in [("PSK", Auth::Psk), ("ECDSA P-256", Auth::Ecdsa)] {
        let configs = configs(auth);
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || Peers::new(&configs),
                |peers| {
                    peers.connect();
                    assert_eq!(peers.established(), (1, 1));
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, codec, handshake);
criterion_main!(benches);
