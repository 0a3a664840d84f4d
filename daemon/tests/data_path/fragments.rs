//! Fragmented packets on their way out (RFC 4301 §7).

use std::time::Instant;

use cygnet::net::Wire;
use cygnet::workers::{Inbound, Outbound};
use cygnet_esp::ENCR;
use cygnet_sad::Lifetime;
use cygnet_spd::{Action, Selector, Terms};

use crate::support::{A, B, Host, MTU, POLICY, address, host, host_with, install, new_pair, packet, pair, policy};
use crate::transport::{hosts, is_sound, udp, v4, v6};

/// Cuts a packet into fragments whose data has `size` octets, as hosts do.
fn cut(packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    let is_v4 = packet[0] >> 4 == 4;
    let (head, data) = packet.split_at(if is_v4 { 20 } else { 40 });
    let last = data.len().div_ceil(size) - 1;
    let cut = |(n, piece): (usize, &[u8])| {
        let (place, more) = ((n * size) as u16, u16::from(n < last));
        if is_v4 {
            let mut fragment = [head, piece].concat();
            let len = fragment.len() as u16;
            fragment[2..4].copy_from_slice(&len.to_be_bytes());
            fragment[4..6].copy_from_slice(&[0x12, 0x34]);
            fragment[6..8].copy_from_slice(&((place / 8) | (more << 13)).to_be_bytes());
            return fragment;
        }
        let [high, low] = (place | more).to_be_bytes();
        let mut fragment = [head, &[head[6], 0, high, low, 0, 0, 0x12, 0x34], piece].concat();
        fragment[6] = 44;
        let len = (fragment.len() - 40) as u16;
        fragment[4..6].copy_from_slice(&len.to_be_bytes());
        fragment
    };
    data.chunks(size).enumerate().map(cut).collect()
}

/// A gateway that treats what goes to a port of UDP so.
fn by_port(action: Action, terms: Terms) -> (Host, Host) {
    let wire = Wire::new();
    let local = vec!["10.1.0.0/16".parse().expect("a selector")];
    let remote = vec!["10.2.0.0/16[udp/22136]".parse().expect("a selector")];
    let a = host_with(wire.host(address(1), 500, 4500), vec![policy(Selector { local, remote }, action, terms)]);
    let b = host(&wire, 2, 1);
    install(&b, &ENCR[0], 2, 1, Lifetime::default());
    (a, b)
}

/// 0x1234 to 0x5678, which is 22136.
fn large() -> Vec<u8> {
    udp(A.into(), B.into(), 4000, 0)
}

#[test]
fn transport_mode_carries_large_packets_whole() {
    for (address, size) in [(v4 as fn(u8) -> _, 1480), (v6, 1232)] {
        for len in [2000, 9000, 60_000] {
            let (mut a, mut b) = hosts(address, true);
            let sent = udp(address(1), address(2), len, 0);
            let mut fragments = cut(&sent, size - 200);
            let count = fragments.len() as u64;
            fragments.reverse();
            a.sends(&fragments);
            assert_eq!((a.sent(Outbound::Fragment), a.sent(Outbound::Sealed)), (count - 1, 1));
            let [arrived] = &b.receives()[..] else { panic!("one packet") };
            assert!(is_sound(arrived));
            let header = sent.len() - len;
            assert_eq!(arrived[header..], sent[header..]);
        }
    }
}

#[test]
fn a_policy_that_asks_for_ports_judges_the_whole() {
    let (mut a, mut b) = by_port(Action::Protect(POLICY), Terms::default());
    let path = std::sync::Arc::clone(&a.path);
    // It waits as one, too.
    a.sends(&cut(&large(), 1368));
    assert_eq!((a.sent(Outbound::Fragment), a.sent(Outbound::Held)), (2, 1));
    let install = || path.sad.install(Instant::now(), new_pair(&ENCR[0], 1, 2)).expect("an empty SAD");
    a.releaser.after(Instant::now(), install);
    a.sends(&cut(&large(), 1368));
    let arrived = b.receives();
    assert_eq!(arrived.len(), 2);
    for packet in arrived {
        assert!(is_sound(&packet));
        assert_eq!(packet[20..], large()[20..]);
    }
}

#[test]
fn in_the_clear_a_packet_is_cut_again() {
    let (mut a, _b) = by_port(Action::Bypass, Terms::default());
    a.sends(&cut(&large(), 1000));
    let clear = a.clear();
    assert!(clear.len() > 1 && clear.iter().all(|piece| piece.len() <= MTU));
    // Whoever puts them together gets what was sent.
    let (mut whole, mut end) = (vec![0; 4000], 0);
    for piece in &clear {
        let place = usize::from(u16::from_be_bytes([piece[6], piece[7]]) & 0x1fff) * 8;
        whole[place..place + piece.len() - 20].copy_from_slice(&piece[20..]);
        end = end.max(place + piece.len() - 20);
    }
    assert_eq!((end, &whole[..]), (4000, &large()[20..]));
    assert_eq!((a.sent(Outbound::Fragment), a.sent(Outbound::Bypassed)), (3, 1));
}

#[test]
fn fragments_pass_as_they_are_where_nobody_asks_for_ports() {
    let (mut a, mut b) = pair(&ENCR[0]);
    let fragments = cut(&large(), 1368);
    a.sends(&fragments);
    assert_eq!(b.receives(), fragments);
    assert_eq!((a.sent(Outbound::Fragment), b.got(Inbound::Delivered)), (0, 3));
}

#[test]
fn fragments_that_contradict_each_other_are_dropped() {
    let (mut a, mut b) = by_port(Action::Protect(POLICY), Terms::default());
    a.path.sad.install(Instant::now(), new_pair(&ENCR[0], 1, 2)).expect("an empty SAD");
    let mut fragments = cut(&large(), 1368);
    // The second one begins within the first.
    fragments[1][7] -= 1;
    a.sends(&fragments);
    assert!(a.sent(Outbound::BadFragment) >= 1);
    assert_eq!(a.sent(Outbound::Sealed), 0);
    // Others are not concerned.
    a.sends(&[packet(A, B, 100, 0x56)]);
    a.check_counters();
    let mut good = cut(&large(), 1368);
    good.iter_mut().for_each(|fragment| fragment[5] = 9);
    a.sends(&good);
    assert_eq!(b.receives().len(), 1);
}
