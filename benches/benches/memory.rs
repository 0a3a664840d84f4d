//! Heap octets that one more tunnel costs: an IKE SA with its Child SA in the endpoint, and the Child SA's pair in the
//! SAD.

use cygnet_benches::pair;
use cygnet_benches::peers::{Auth, Peers, configs};
use cygnet_sad::Sad;
use peak_alloc::PeakAlloc;
use std::time::Instant;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const TUNNELS: usize = 200;

fn main() {
    let configs = configs(Auth::Ecdsa);
    let mut peers: Vec<Peers> = (0..TUNNELS).map(|_| Peers::new(&configs)).collect();
    let before = HEAP.current_usage();
    peers.iter_mut().for_each(Peers::connect);
    let both = HEAP.current_usage().saturating_sub(before);
    assert!(peers.iter().all(|peers| peers.established() == (1, 1)), "every handshake succeeds");
    println!("endpoint, IKE SA + Child SA: {} octets a tunnel and side", both / TUNNELS / 2);

    let sad = Sad::new();
    let before = HEAP.current_usage();
    let now = Instant::now();
    sad.edit(|edit| {
        for n in 0..TUNNELS {
            edit.install(now, pair(u32::try_from(n).expect("few"))).expect("names and SPIs are distinct");
        }
    });
    println!("SAD, a pair with a window of 1,024: {} octets", HEAP.current_usage().saturating_sub(before) / TUNNELS);
}
