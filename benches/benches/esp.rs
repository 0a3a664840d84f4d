//! Sealing and opening a batch of ESP packets, beside the bare AEAD of `ring` on as many octets in the same run: the
//! difference is what ESP itself costs (header, padding, sequence number, replay window). Then whole packets in tunnel
//! and in transport mode: with what happens to IP headers, and to checksums through a NAT.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cygnet_esp::transport::{self, Rebuilt};
use cygnet_esp::tunnel::{self, Ecn, Inner, Rules};
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

/// Packets at once, as a worker has them: one reservation of sequence numbers and two holds of the window for all.
const BATCH: usize = 32;

fn filled(size: usize) -> PacketBuf {
    let mut packet = PacketBuf::for_mtu(size);
    packet.append(size).expect("room for a packet").fill(0x5a);
    packet
}

fn seal_all(sa: &Outbound, packets: &mut [PacketBuf]) {
    let mut sequence = sa.reserve(packets.len() as u32).expect("sequence numbers last");
    for packet in packets {
        sequence.seal(NextHeader::IPV4, packet).expect("room for ESP");
    }
}

/// The octets that the cipher sees: payload, padding, pad length, next header.
fn body(size: usize) -> Vec<u8> {
    vec![0x5a; (size + 2).next_multiple_of(4)]
}

fn nonce(count: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn seal(c: &mut Criterion) {
    for (name, key_len, algorithm) in CIPHERS {
        let mut group = c.benchmark_group(format!("esp/seal/{name}"));
        let encr = encr(name);
        for size in SIZES {
            group.throughput(Throughput::Bytes((BATCH * size) as u64));
            let sa = Outbound::new(Spi(0x1000), encr, &KEY[..encr.encryption_len()], &[], true).expect("legal keys");
            let mut packets = Vec::from_iter((0..BATCH).map(|_| filled(size)));
            group.bench_function(BenchmarkId::new("cygnet", size), |b| {
                b.iter(|| {
                    for packet in &mut packets {
                        packet.clear();
                        packet.append(size).expect("room for a packet");
                    }
                    seal_all(&sa, black_box(&mut packets));
                });
            });

            let key = raw(algorithm, key_len);
            let mut bodies = vec![body(size); BATCH];
            let mut count = 0;
            group.bench_function(BenchmarkId::new("ring", size), |b| {
                b.iter(|| {
                    for body in black_box(&mut bodies) {
                        count += 1;
                        let tag = key.seal_in_place_separate_tag(nonce(count), Aad::from([0; 12]), body);
                        let _ = black_box(tag.expect("a short message"));
                    }
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
            group.throughput(Throughput::Bytes((BATCH * size) as u64));
            let sender = Outbound::new(Spi(0x1000), encr, keys, &[], true).expect("legal keys");
            let receiver = Inbound::new(Spi(0x1000), encr, keys, &[], true, 1024).expect("legal keys");
            group.bench_function(BenchmarkId::new("cygnet", size), |b| {
                b.iter_batched_ref(
                    || {
                        let mut packets = Vec::from_iter((0..BATCH).map(|_| filled(size)));
                        seal_all(&sender, &mut packets);
                        packets
                    },
                    |packets| {
                        receiver.open_batch(packets, |_, _, next| {
                            next.expect("a good packet");
                        });
                    },
                    BatchSize::NumIterations(8),
                );
            });

            let key = raw(algorithm, key_len);
            let sealed = {
                let mut body = body(size);
                key.seal_in_place_append_tag(nonce(0), Aad::from([0; 12]), &mut body).expect("a short message");
                body
            };
            group.bench_function(BenchmarkId::new("ring", size), |b| {
                b.iter_batched_ref(
                    || vec![sealed.clone(); BATCH],
                    |bodies| {
                        for body in bodies {
                            black_box(key.open_in_place(nonce(0), Aad::from([0; 12]), body).expect("a good message"));
                        }
                    },
                    BatchSize::NumIterations(8),
                );
            });
        }
        group.finish();
    }
}

/// A UDP packet of `size` octets.
fn udp_packet(size: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; size];
    let len = (size as u16).to_be_bytes();
    packet[..20].copy_from_slice(&[0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet
}

fn refill(packets: &mut [PacketBuf], contents: &[u8]) {
    for packet in packets {
        packet.clear();
        packet.extend(contents).expect("room for a packet");
    }
}

fn seal_tunnel(sa: &Outbound, packets: &mut [PacketBuf]) {
    let mut sequence = sa.reserve(packets.len() as u32).expect("sequence numbers last");
    for packet in packets {
        let inner = Inner::parse(packet.data()).expect("an IP packet");
        black_box(Rules::default().outer(inner));
        sequence.seal(NextHeader::IPV4, packet).expect("room for ESP");
    }
}

fn seal_transport(sa: &Outbound, packets: &mut [PacketBuf]) {
    let mut sequence = sa.reserve(packets.len() as u32).expect("sequence numbers last");
    for packet in packets {
        let stripped = black_box(transport::encapsulate(packet).expect("a whole IP packet"));
        sequence.seal(stripped.next, packet).expect("room for ESP");
    }
}

/// The AEAD that hides least of what surrounds it.
fn modes(c: &mut Criterion) {
    let encr = encr("aes128gcm16");
    let keys = &KEY[..encr.encryption_len()];
    let sender = Outbound::new(Spi(0x1000), encr, keys, &[], true).expect("legal keys");
    let receiver = Inbound::new(Spi(0x1000), encr, keys, &[], true, 1024).expect("legal keys");
    let header = Rebuilt {
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        traffic_class: 0,
        hop_limit: 64,
        original: None,
    };
    let through_nat = Rebuilt { original: Some(([192, 0, 2, 1].into(), header.destination)), ..header };
    let full = |seal: fn(&Outbound, &mut [PacketBuf]), contents: &[u8]| {
        let mut packets = Vec::from_iter((0..BATCH).map(|_| PacketBuf::for_mtu(contents.len())));
        refill(&mut packets, contents);
        seal(&sender, &mut packets);
        packets
    };
    for size in SIZES {
        let contents = udp_packet(size);
        let mut group = c.benchmark_group(format!("esp/modes/{size}"));
        group.throughput(Throughput::Elements(BATCH as u64));
        for (name, seal) in [("tunnel", seal_tunnel as fn(&Outbound, &mut [PacketBuf])), ("transport", seal_transport)]
        {
            let mut packets = full(seal, &contents);
            group.bench_function(BenchmarkId::new("seal", name), |b| {
                b.iter(|| {
                    refill(&mut packets, &contents);
                    seal(&sender, black_box(&mut packets));
                });
            });
        }
        group.bench_function(BenchmarkId::new("open", "tunnel"), |b| {
            let open = |packets: &mut Vec<PacketBuf>| {
                receiver.open_batch(packets, |_, packet, next| {
                    tunnel::decapsulate(packet, next.expect("a good packet"), Ecn::NotEct).expect("an IP packet");
                });
            };
            b.iter_batched_ref(|| full(seal_tunnel, &contents), open, BatchSize::NumIterations(8));
        });
        for (name, header) in [("transport", &header), ("transport through NAT", &through_nat)] {
            group.bench_function(BenchmarkId::new("open", name), |b| {
                let open = |packets: &mut Vec<PacketBuf>| {
                    receiver.open_batch(packets, |_, packet, next| {
                        transport::decapsulate(packet, next.expect("a good packet"), header).expect("room");
                    });
                };
                b.iter_batched_ref(|| full(seal_transport, &contents), open, BatchSize::NumIterations(8));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, seal, open, modes);
criterion_main!(benches);
