//! Bodies of fuzz targets: laws that hold for any octets. `cargo test` replays the corpus.

use std::time::Instant;

use crate::flow::{Direction, Flow, Ports};
use crate::reassembly::{Progress, Reassembler, TIME_OUT};
use crate::selector::Selector;

/// Whatever the octets, [`Flow::parse`] gives a flow or an error, and the flow is the same one seen from both sides.
///
/// # Panics
/// If a law is broken.
pub fn flow(data: &[u8]) {
    let out = Flow::parse(data, Direction::Outbound);
    let inbound = Flow::parse(data, Direction::Inbound);
    assert_eq!(out.map(|f| (f.local, f.remote, f.protocol)), inbound.map(|f| (f.remote, f.local, f.protocol)));
    for flow in out.into_iter().chain(inbound) {
        let (local, remote) = flow.selectors();
        assert_eq!(local.to_string().parse(), Ok(local));
        assert!(Selector { local: vec![local], remote: vec![remote] }.contains(&flow));
    }
}

/// Whatever arrives, in whatever order, a [`Reassembler`] gives packets whose length is the one they claim and that are
/// no fragments themselves, and counts each packet once.
///
/// `data` is a list of fragments: an octet for the length, then as many octets. Their addresses and identification
/// are overwritten, so that they often belong together.
///
/// # Panics
/// If a law is broken.
pub fn reassembly(mut data: &[u8]) {
    let (mut reassembler, mut whole, mut now) = (Reassembler::new(), Vec::new(), Instant::now());
    let (mut completed, mut dropped) = (0, 0);
    while let Some((len, rest)) = data.split_first() {
        let (fragment, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        data = rest;
        let mut fragment = fragment.to_vec();
        match fragment.first().map(|first| first >> 4) {
            Some(4) if fragment.len() >= 20 => {
                fragment[5] &= 1;
                fragment[12..20].fill(1);
            }
            Some(6) if fragment.len() >= 40 => fragment[8..40].fill(1),
            _ => {}
        }
        match reassembler.push(&fragment, now, &mut whole) {
            Progress::Whole => {
                completed += 1;
                let ipv4 = whole[0] >> 4 == 4;
                let claimed = usize::from(if ipv4 {
                    u16::from_be_bytes([whole[2], whole[3]])
                } else {
                    u16::from_be_bytes([whole[4], whole[5]]) + 40
                });
                assert_eq!(claimed, whole.len());
                assert_eq!(Flow::of_fragment(&whole, Direction::Inbound), None);
            }
            Progress::Dropped(_) => dropped += 1,
            Progress::Kept => assert!(whole.is_empty()),
        }
        now += TIME_OUT / 64;
    }
    let counters = reassembler.counters();
    assert_eq!(counters.completed, completed);
    assert!(counters.overlapping + counters.too_large + counters.malformed <= dropped);
}

/// Whatever the octets, an ICMP error is about a packet that its receiver sent, seen from either side alike.
///
/// # Panics
/// If a law is broken.
pub fn icmp_error(data: &[u8]) {
    let arrives = Flow::of_icmp_error(data, Direction::Inbound);
    let leaves = Flow::of_icmp_error(data, Direction::Outbound);
    assert_eq!(arrives.map(|f| (f.local, f.remote, f.protocol)), leaves.map(|f| (f.remote, f.local, f.protocol)));
    for (flow, direction) in [(arrives, Direction::Inbound), (leaves, Direction::Outbound)] {
        let Some(flow) = flow else { continue };
        let error = Flow::parse(data, direction).expect("an error is readable itself");
        assert!(matches!(error.ports, Ports::Icmp { .. }));
        match direction {
            Direction::Inbound => assert_eq!(error.local, flow.local),
            Direction::Outbound => assert_eq!(error.remote, flow.remote),
        }
        let (local, remote) = flow.selectors();
        let own = Selector { local: vec![local], remote: vec![remote] };
        assert!(own.admits_icmp_error(data, direction));
    }
}

#[cfg(test)]
mod tests {
    fn replay(corpus: &str, body: fn(&[u8])) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(corpus);
        let files = std::fs::read_dir(folder).unwrap();
        let replayed = files.map(|entry| body(&std::fs::read(entry.unwrap().path()).unwrap())).count();
        assert!(replayed > 0, "the corpus {corpus} is empty");
    }

    #[test]
    fn the_corpus_holds() {
        replay("flow", super::flow);
        replay("reassembly", super::reassembly);
        replay("icmp_error", super::icmp_error);
    }
}
