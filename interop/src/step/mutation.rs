//! Mutated messages, made from the real ones on the link, sent at our daemon in the peer's name.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, setsockopt, socket, sockopt,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::traffic::{self, Probing};
use super::tunnel;
use crate::addresses::outer;
use crate::bed::Bed;
use crate::capture;
use crate::failure::{Context, Result, fail};
use crate::process::until;
use crate::scenario::{Nat, Outer, Who};

/// A run's mutations are the same as the last one's.
const SEED: u64 = 7296;
/// Offsets within an IKE message (RFC 7296 §3.1): length, then the first payload's generic header.
const LENGTH: usize = 24;
const FIRST_PAYLOAD: usize = 28;
/// Growth that is not a leak, KiB: what an allocator keeps at hand.
const SLACK: u64 = 4096;

/// Sends `count` mutated messages: our daemon lives, its memory does not grow, the tunnel's SAs stay and carry
/// traffic throughout.
pub(super) fn mutate(bed: &mut Bed<'_>, count: usize) -> Result<()> {
    let before = tunnel::agree(bed, Duration::from_secs(5))?;
    let file = bed.packets.as_ref().context("this capture is over")?.file().to_owned();
    let originals: Vec<_> =
        capture::udp_payloads(&file)?.into_iter().filter(|(port, data)| is_ike(*port, data)).collect();
    if originals.len() < 4 {
        fail!("only {} IKE messages were captured", originals.len());
    }
    // The first fifth fills what is bounded anyway, such as the table of half-open SAs.
    let (first, rest) = (mutants(&originals, count / 5, SEED), mutants(&originals, count - count / 5, SEED + 1));
    send(bed, first)?;
    let memory = bed.ours.memory()?;
    let probing = Probing::start(bed, Who::Ours)?;
    send(bed, rest)?;
    probing.finish()?;
    let grown = until("memory to settle", Duration::from_secs(5), || {
        let now = bed.ours.memory().ok()?;
        (now <= memory + SLACK).then_some(now)
    });
    if let Err(cause) = grown {
        fail!("{cause}: {memory} KiB before, {} KiB after", bed.ours.memory()?);
    }
    if tunnel::agree(bed, Duration::from_secs(5))? != before {
        fail!("the mutated messages changed the tunnel's SAs");
    }
    traffic::ping(bed)
}

/// Whether a datagram holds IKE: on port 4500 four zero octets go before it (RFC 3948 §2.2).
fn is_ike(port: u16, data: &[u8]) -> bool {
    port == 500 || (port == 4500 && data.len() > 4 && data.starts_with(&[0; 4]))
}

fn mutants(originals: &[(u16, Vec<u8>)], count: usize, seed: u64) -> Vec<(u16, Vec<u8>)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut made = Vec::with_capacity(count);
    while made.len() < count {
        let Some((port, original)) = originals.choose(&mut rng) else { break };
        let skip = if *port == 4500 { 4 } else { 0 };
        let mut data = original.clone();
        for _ in 0..rng.random_range(1..4) {
            mutate_once(&mut data, skip, &mut rng);
        }
        if data != *original {
            made.push((*port, data));
        }
    }
    made
}

fn mutate_once(data: &mut Vec<u8>, skip: usize, rng: &mut StdRng) {
    if data.len() < skip + FIRST_PAYLOAD + 4 {
        return;
    }
    let any = rng.random_range(skip..data.len());
    match rng.random_range(0..7) {
        0 => data[any] ^= 1 << rng.random_range(0..8),
        1 => data[any] = rng.random(),
        2 => data.truncate(any),
        3 => data[skip + LENGTH + rng.random_range(0..4)] = rng.random(),
        // A wrong length, then the critical bit with a payload type that nobody knows.
        4 => data[skip + FIRST_PAYLOAD + rng.random_range(2..4)] = rng.random(),
        5 => {
            data[skip + 16] = rng.random_range(49..=255);
            data[skip + FIRST_PAYLOAD + 1] |= 0x80;
        }
        _ => data.extend((0..rng.random_range(1..64)).map(|_| rng.random::<u8>())),
    }
}

/// Sends from the peer's address and ports. A raw socket leaves the peer's own sockets alone.
fn send(bed: &Bed<'_>, messages: Vec<(u16, Vec<u8>)>) -> Result<()> {
    bed.theirs.namespace().run(move || {
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Udp).context("socket")?;
        setsockopt(&raw, sockopt::Mark, &0x42).context("mark")?;
        let target: Ipv4Addr = outer(Nat::None, Who::Ours, Outer::V4).parse().context("address")?;
        let [a, b, c, d] = target.octets();
        for (number, (port, data)) in messages.iter().enumerate() {
            let length = u16::try_from(data.len() + 8).context("length")?;
            let mut datagram = Vec::with_capacity(data.len() + 8);
            // Source port, destination port, length, no checksum (RFC 768).
            for field in [*port, *port, length, 0] {
                datagram.extend(field.to_be_bytes());
            }
            datagram.extend(data);
            sendto(raw.as_raw_fd(), &datagram, &SockaddrIn::new(a, b, c, d, 0), MsgFlags::empty()).context("send")?;
            // About a thousand a second: what is sent should be read, not lost in the socket's queue.
            if number % 10 == 9 {
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_differ_from_their_originals_and_repeat_from_run_to_run() {
        let originals = [(500, vec![7; 200]), (4500, [vec![0; 4], vec![7; 80]].concat())];
        let made = mutants(&originals, 1000, SEED);
        assert_eq!(made, mutants(&originals, 1000, SEED));
        assert!(made.iter().all(|mutant| !originals.contains(mutant)));
        // The non-ESP marker stays: without it a message would be taken for ESP, and miss what is to be tested.
        assert!(made.iter().all(|(port, data)| *port == 500 || data.starts_with(&[0; 4])));
    }
}
