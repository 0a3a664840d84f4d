//! The steady state of the data path allocates nothing: counted, for every algorithm.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cygnet_esp::icmp::{self, packet_too_big};
use cygnet_esp::transport::{self, Rebuilt};
use cygnet_esp::tunnel::{self, Ecn, Inner, MssRule, Rules};
use cygnet_esp::{ENCR, Encr, Inbound, NextHeader, Outbound, PacketBuf, Spi};

/// The system's allocator, counting what the current thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread may allocate while its locals are being destroyed; nothing measures then.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every method hands its arguments to `System` unchanged, and `count` neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

const BATCH: usize = 32;

/// Seals and opens one batch of inner packets, as a worker would.
fn batch(outbound: &Outbound, inbound: &Inbound, packets: &mut [PacketBuf], inner: &[u8]) -> usize {
    let mut reservation = outbound.reserve(packets.len() as u32).unwrap();
    for packet in &mut *packets {
        packet.clear();
        packet.extend(inner).unwrap();
        let fields = Rules::default().outer(Inner::parse(packet.data()).unwrap());
        assert_eq!(fields.ecn, Ecn::Ect0);
        reservation.seal(NextHeader::IPV4, packet).unwrap();
    }
    let mut opened = 0;
    inbound.open_batch(packets, |_, packet, outcome| {
        tunnel::decapsulate(packet, outcome.unwrap(), Ecn::Ce).unwrap();
        opened += 1;
    });
    // One that fails on each of the ways, too.
    assert!(inbound.open(&mut packets[0]).is_err());
    opened
}

/// The same in transport mode, through a NAT, with MSS clamped and an answer to each packet as if it were too big.
fn transport_batch(outbound: &Outbound, inbound: &Inbound, packets: &mut [PacketBuf], inner: &[u8]) -> usize {
    let mut reservation = outbound.reserve(packets.len() as u32).unwrap();
    let mut header = None;
    for packet in &mut *packets {
        packet.clear();
        packet.extend(inner).unwrap();
        assert!(MssRule::Path.apply(packet.data_mut(), Some(1300)));
        assert!(packet_too_big(packet.data(), 1300, &mut [0; icmp::MAX_LEN]).is_ok());
        let stripped = transport::encapsulate(packet).unwrap();
        reservation.seal(stripped.next, packet).unwrap();
        header = Some(Rebuilt {
            source: stripped.source,
            destination: stripped.destination,
            traffic_class: stripped.fields.traffic_class(),
            hop_limit: 64,
            original: Some((stripped.destination, stripped.source)),
        });
    }
    let mut opened = 0;
    inbound.open_batch(packets, |_, packet, outcome| {
        transport::decapsulate(packet, outcome.unwrap(), &header.unwrap()).unwrap();
        assert_eq!(packet.len(), inner.len());
        opened += 1;
    });
    assert!(transport::decapsulate(&mut packets[0], NextHeader::NONE, &header.unwrap()).is_err());
    assert!(packet_too_big(&[], 1300, &mut []).is_err());
    opened
}

fn steady_state(encr: &'static Encr) {
    let (encryption, integrity) = (vec![7; encr.encryption_len()], vec![8; encr.integ_key_len]);
    let outbound = Outbound::new(Spi(0x1234_5678), encr, &encryption, &integrity, true).unwrap();
    let inbound = Inbound::new(Spi(0x1234_5678), encr, &encryption, &integrity, true, 1024).unwrap();
    let mut inner = vec![0; 1400];
    inner[..10].copy_from_slice(&[0x45, Ecn::Ect0 as u8, 0x05, 0x78, 0, 0, 0, 0, 64, 17]);
    let mut packets = Vec::from_iter((0..BATCH).map(|_| PacketBuf::for_mtu(1400)));
    // Warm up: `ring` looks at the processor once.
    batch(&outbound, &inbound, &mut packets, &inner);
    let mut syn = inner.clone();
    syn[6..24].copy_from_slice(&[0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80]);
    syn[32..34].copy_from_slice(&[0x60, 2]);
    syn[40..44].copy_from_slice(&[2, 4, 0x05, 0xb4]);
    let mut opened = 0;
    let allocated = allocations(|| {
        for _ in 0..10 {
            opened += batch(&outbound, &inbound, &mut packets, &inner);
            opened += transport_batch(&outbound, &inbound, &mut packets, &syn);
        }
    });
    assert_eq!((allocated, opened), (0, 20 * BATCH), "{encr}");
}

#[test]
fn seal_and_open_allocate_nothing() {
    assert_eq!(allocations(|| drop(vec![0u8; 100])), 1, "the counter counts");
    for encr in ENCR {
        steady_state(encr);
    }
}
