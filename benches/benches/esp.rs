//! Sealing and opening one ESP packet, beside the bare AEAD of `ring` on as many octets in the same run: the
//! difference is what ESP itself costs (header, padding, sequence number, replay window).

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cygnet_esp::{Encr, Inbound, NextHeader, Outbound, PacketBuf, Spi};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::hint::black_box;

/// Payload lengths, octets: small, a classic default, an Ethernet frame's worth, a jumbo frame's worth.
const SIZES: [usize; 4] = [64, 576, 1400, 8900];
const KEY: [u8; 36] = [7; 36];

/// Name, key octets, the same cipher in `ring`.
const CIPHERS: [(&str, usize, &Algorithm); 3] = [
    ("aes128gcm16", 16, &AES_128_GCM),
    ("aes256gcm16", 32, &AES_256_GCM),
    ("chacha20poly1305", 32, &CHACHA20_POLY1305),
];

fn encr(name: &str) -> &'static Encr {
    cygnet_esp::ENCR.iter().find(|row| row.name == name).expect("a row of the registry")
}

fn raw(algorithm: &'static Algorithm, len: usize) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, &KEY[..len]).expect("a key of the right length"))
}

fn filled(packet: &mut PacketBuf, size: usize) {
    packet.clear();
    packet.append(size).expect("room for a packet").fill(0x5a);
}

fn seal(c: &mut Criterion) {
    for (name, key_len, algorithm) in CIPHERS {
        let mut group = c.benchmark_group(format!("esp/seal/{name}"));
        let encr = encr(name);
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let sa = Outbound::new(Spi(0x1000), encr, &KEY[..encr.encryption_len()], &[], true).expect("legal keys");
            let mut packet = PacketBuf::for_mtu(size);
            group.bench_function(BenchmarkId::new("cygnet", size), |b| {
                b.iter(|| {
                    packet.clear();
                    packet.append(size).expect("room for a packet");
                    let mut sequence = sa.reserve(1).expect("sequence numbers last");
                    sequence.seal(NextHeader::IPV4, black_box(&mut packet)).expect("room for ESP");
                });
            });

            let key = raw(algorithm, key_len);
            let padded = (size + 2).next_multiple_of(4);
            let mut body = vec![0x5a; padded];
            let mut count = 0u64;
            group.bench_function(BenchmarkId::new("ring", size), |b| {
                b.iter(|| {
                    count += 1;
                    let mut nonce = [0; 12];
                    nonce[4..].copy_from_slice(&count.to_be_bytes());
                    let nonce = Nonce::assume_unique_for_key(nonce);
                    key.seal_in_place_separate_tag(nonce, Aad::from([0; 12]), black_box(&mut body))
                        .expect("a short message")
                });
            });
        }
        group.finish();
    }
}

fn open(c: &mut Criterion) {
    for (name, key_len, algorithm) in CIPHERS {
        let mut group = c.benchmark_group(format!("esp/open/{name}"));
        let encr = encr(name);
        let keys = &KEY[..encr.encryption_len()];
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let sender = Outbound::new(Spi(0x1000), encr, keys, &[], true).expect("legal keys");
            let receiver = Inbound::new(Spi(0x1000), encr, keys, &[], true, 1024).expect("legal keys");
            group.bench_function(BenchmarkId::new("cygnet", size), |b| {
                b.iter_batched_ref(
                    || {
                        let mut packet = PacketBuf::for_mtu(size);
                        filled(&mut packet, size);
                        let mut sequence = sender.reserve(1).expect("sequence numbers last");
                        sequence.seal(NextHeader::IPV4, &mut packet).expect("room for ESP");
                        packet
                    },
                    |packet| receiver.open(packet).expect("a good packet"),
                    BatchSize::NumIterations(256),
                );
            });

            let key = raw(algorithm, key_len);
            let padded = (size + 2).next_multiple_of(4);
            let sealed = {
                let mut body = vec![0x5a; padded];
                key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from([0; 12]), &mut body)
                    .expect("a short message");
                body
            };
            group.bench_function(BenchmarkId::new("ring", size), |b| {
                b.iter_batched_ref(
                    || sealed.clone(),
                    |body| {
                        let nonce = Nonce::assume_unique_for_key([0; 12]);
                        key.open_in_place(nonce, Aad::from([0; 12]), body).expect("a good message").len()
                    },
                    BatchSize::NumIterations(256),
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, seal, open);
criterion_main!(benches);
