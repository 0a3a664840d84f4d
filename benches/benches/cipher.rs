//! AEADs of other crates beside those of the registry, behind the same [`Cipher`]: whether `ring` is still the one to
//! take on this processor. Associated data is 12 octets, as with extended sequence numbers; 8 cost the same.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cygnet_esp::{Aad, Cipher, CipherError};
use graviola::aead::{AesGcm, ChaCha20Poly1305};

/// Octets of the body: small, a middling one, an Ethernet frame's worth, a jumbo frame's worth.
const SIZES: [usize; 4] = [64, 256, 1400, 8900];
/// Bodies at once, as a worker has packets.
const BATCH: usize = 32;
const KEY: [u8; 32] = [7; 32];
const SALT: [u8; 4] = [9; 4];
const HEADER: [u8; 8] = [1; 8];
const ESN_HIGH: [u8; 4] = [0, 0, 0, 2];

type Make = fn() -> Box<dyn Cipher>;

/// Keyword of the registry, and who else has it.
const CIPHERS: [(&str, &[(&str, Make)]); 3] = [
    (
        "aes128gcm16",
        &[
            ("cygnet", || registered("aes128gcm16")),
            ("graviola", || Box::new(Graviola(AesGcm::new(&KEY[..16])))),
            ("aes-gcm", || rust_crypto::<Aes128Gcm>(&KEY[..16])),
        ],
    ),
    (
        "aes256gcm16",
        &[
            ("cygnet", || registered("aes256gcm16")),
            ("graviola", || Box::new(Graviola(AesGcm::new(&KEY)))),
            ("aes-gcm", || rust_crypto::<Aes256Gcm>(&KEY)),
        ],
    ),
    (
        "chacha20poly1305",
        &[
            ("cygnet", || registered("chacha20poly1305")),
            ("graviola", || Box::new(Graviola(ChaCha20Poly1305::new(KEY)))),
        ],
    ),
];

fn registered(name: &str) -> Box<dyn Cipher> {
    let row = cygnet_esp::ENCR.iter().find(|row| row.name == name).expect("a row of the registry");
    let keys = [&KEY[..row.enc_key_len], &SALT].concat();
    row.key(&keys, &[]).expect("a key of the right length")
}

fn rust_crypto<A>(key: &[u8]) -> Box<dyn Cipher>
where
    A: KeyInit + AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync + 'static,
{
    Box::new(RustCrypto(A::new_from_slice(key).expect("a key of the right length")))
}

fn nonce(iv: &[u8]) -> Result<[u8; 12], CipherError> {
    let mut nonce = [9; 12];
    nonce[4..].as_mut_array::<8>().ok_or(CipherError::Length)?.copy_from_slice(iv);
    Ok(nonce)
}

/// What RFC 4106 §5 makes of [`HEADER`] and [`ESN_HIGH`]. Only the registry's ciphers can read an [`Aad`].
fn associated() -> [u8; 12] {
    let mut octets = [1; 12];
    octets[4..8].copy_from_slice(&ESN_HIGH);
    octets
}

struct Graviola<A>(A);

/// Both of the crate's AEADs have these, but no trait that says so.
macro_rules! graviola {
    ($($name:ty),*) => {$(
        impl Cipher for Graviola<$name> {
            fn write_iv(&self, counter: u64, iv: &mut [u8]) -> Result<(), CipherError> {
                write_counter(counter, iv)
            }

            fn seal(&self, _: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), CipherError> {
                let icv = icv.as_mut_array().ok_or(CipherError::Length)?;
                self.0.encrypt(&nonce(iv)?, &associated(), body, icv);
                Ok(())
            }

            fn open(&self, _: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &[u8]) -> Result<(), CipherError> {
                self.0.decrypt(&nonce(iv)?, &associated(), body, icv).map_err(|_| CipherError::Forged)
            }
        }
    )*};
}

graviola!(AesGcm, ChaCha20Poly1305);

struct RustCrypto<A>(A);

impl<A: AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync> Cipher for RustCrypto<A> {
    fn write_iv(&self, counter: u64, iv: &mut [u8]) -> Result<(), CipherError> {
        write_counter(counter, iv)
    }

    fn seal(&self, _: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), CipherError> {
        let tag = self
            .0
            .encrypt_inout_detached(&nonce(iv)?.into(), &associated(), body.into())
            .map_err(|_| CipherError::Length)?;
        icv.copy_from_slice(&tag);
        Ok(())
    }

    fn open(&self, _: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &[u8]) -> Result<(), CipherError> {
        let tag = icv.try_into().map_err(|_| CipherError::Length)?;
        self.0
            .decrypt_inout_detached(&nonce(iv)?.into(), &associated(), body.into(), &tag)
            .map_err(|_| CipherError::Forged)
    }
}

fn write_counter(counter: u64, iv: &mut [u8]) -> Result<(), CipherError> {
    *iv.as_mut_array().ok_or(CipherError::Length)? = counter.to_be_bytes();
    Ok(())
}

/// A body and its ICV.
type Message = (Vec<u8>, [u8; 16]);

fn messages(size: usize) -> Vec<Message> {
    vec![(vec![0x5a; size], [0; 16]); BATCH]
}

fn aad() -> Aad<'static> {
    Aad::esp(&HEADER, Some(u32::from_be_bytes(ESN_HIGH)))
}

/// Seals with one IV after the other, from `counter` on.
fn seal_all(cipher: &dyn Cipher, counter: u64, messages: &mut [Message]) {
    for ((body, icv), counter) in messages.iter_mut().zip(counter..) {
        let mut iv = [0; 8];
        cipher.write_iv(counter, &mut iv).expect("eight octets");
        cipher.seal(aad(), &iv, body, icv).expect("a short message");
    }
}

fn open_all(cipher: &dyn Cipher, counter: u64, messages: &mut [Message]) {
    for ((body, icv), counter) in messages.iter_mut().zip(counter..) {
        cipher.open(aad(), &counter.to_be_bytes(), body, icv).expect("a good message");
    }
}

/// Every crate's cipher seals what the registry's opens: else there is nothing to compare.
fn agree() {
    for (name, makes) in CIPHERS {
        let registered = registered(name);
        for (of, make) in makes {
            for size in SIZES {
                let mut all = messages(size);
                seal_all(&*make(), 1, &mut all);
                open_all(&*registered, 1, &mut all);
                assert!(all.iter().all(|(body, _)| body.iter().all(|&octet| octet == 0x5a)), "{name} of {of}");
            }
        }
    }
}

fn seal(c: &mut Criterion) {
    agree();
    for (name, makes) in CIPHERS {
        let mut group = c.benchmark_group(format!("cipher/seal/{name}"));
        for size in SIZES {
            group.throughput(Throughput::Elements(BATCH as u64));
            for (of, make) in makes {
                let (cipher, mut all, mut counter) = (make(), messages(size), 0);
                group.bench_function(BenchmarkId::new(*of, size), |b| {
                    b.iter(|| {
                        counter += BATCH as u64;
                        seal_all(&*cipher, counter, black_box(&mut all));
                    });
                });
            }
        }
    }
}

fn open(c: &mut Criterion) {
    for (name, makes) in CIPHERS {
        let mut group = c.benchmark_group(format!("cipher/open/{name}"));
        for size in SIZES {
            group.throughput(Throughput::Elements(BATCH as u64));
            for (of, make) in makes {
                let (cipher, mut all, mut counter) = (make(), messages(size), 0);
                group.bench_function(BenchmarkId::new(*of, size), |b| {
                    b.iter_custom(|times| {
                        let mut took = Duration::ZERO;
                        for _ in 0..times {
                            counter += BATCH as u64;
                            seal_all(&*cipher, counter, &mut all);
                            let start = Instant::now();
                            open_all(&*cipher, counter, black_box(&mut all));
                            took += start.elapsed();
                        }
                        took
                    });
                });
            }
        }
    }
}

fn key(c: &mut Criterion) {
    for (name, makes) in CIPHERS {
        let mut group = c.benchmark_group(format!("cipher/key/{name}"));
        for (of, make) in makes {
            group.bench_function(*of, |b| b.iter(|| black_box(make())));
        }
    }
}

criterion_group!(benches, seal, open, key);
criterion_main!(benches);
