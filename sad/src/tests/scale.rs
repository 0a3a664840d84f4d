use std::net::Ipv4Addr;

use super::*;

const PAIRS: u32 = 100_000;

/// One host of a hundred thousand behind one policy, as on a gateway for remote access.
fn host(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from_be_bytes([10, 64, 0, 0]) + n)
}

/// Bounds are far above what is measured (microseconds), and far below what a table that copies everything, or a
/// look-up that walks a list, would need.
#[test]
fn a_hundred_thousand_pairs() {
    let sad = Sad::new();
    sad.edit(|edit| {
        for n in 0..PAIRS {
            edit.install(at(0), new(n.into(), &host(n).to_string())).unwrap();
        }
    });
    assert_eq!(sad.snapshot().len(), PAIRS as usize);

    let start = Instant::now();
    for n in 0..200 {
        let id = u64::from(PAIRS + n);
        sad.install(at(1), NewPair { replaces: Some(PairId(n.into())), ..new(id, &host(n).to_string()) }).unwrap();
        sad.remove(PairId(n.into())).unwrap();
    }
    let rekey = start.elapsed() / 200;
    assert!(rekey < Duration::from_millis(20), "one rekey took {rekey:?}");

    let tables = sad.snapshot();
    let flows: Vec<_> = (0..PAIRS).step_by(10).map(|n| Flow { remote: host(n).into(), ..to("10.64.0.0") }).collect();
    let start = Instant::now();
    for (flow, n) in flows.iter().zip((0..PAIRS).step_by(10)) {
        let id = u64::from(if n < 200 { PAIRS + n } else { n });
        let sa = tables.outbound(POLICY, flow).unwrap();
        assert_eq!(sa.id(), PairId(id));
        assert_eq!(tables.inbound(sa.esp().spi()).unwrap().id(), PairId(id));
    }
    let look_up = start.elapsed() / flows.len() as u32;
    assert!(look_up < Duration::from_micros(100), "one look-up took {look_up:?}");
    println!("rekey {rekey:?}, look-up {look_up:?}");
}
