//! ICMP errors pass through the SA of the packet that they are about (RFC 4301 §6.2).

use std::io::IoSlice;
use std::time::{Duration, Instant};

use cygnet::net::{Channel, Outgoing, Wire};
use cygnet::workers::{Inbound, Key, Outbound};
use cygnet_esp::{ENCR, NextHeader, PacketBuf, Spi};
use cygnet_sad::NewPair;
use cygnet_spd::{Action, Selector, Terms};

use crate::support::{A, B, Host, POLICY, address, host, host_with, nat_t, new_pair, packet, policy, v6_packet};

const ROUTER: [u8; 4] = [198, 51, 100, 7];

/// Hosts 10.1.0.1 and 10.2.0.1, and nothing else.
fn gateways() -> (Host, Host) {
    let wire = Wire::new();
    let one = |side: u8, other: u8| {
        let host = |n: u8| vec![format!("10.{n}.0.1").parse().expect("a selector")];
        let selector = Selector { local: host(side), remote: host(other) };
        let entry = policy(selector.clone(), Action::Protect(POLICY), Terms::default());
        let gateway = host_with(wire.host(address(side), 500, 4500), vec![entry]);
        let new = NewPair { selector, ..new_pair(&ENCR[0], side, other) };
        gateway.path.sad.install(Instant::now(), new).expect("an empty SAD");
        gateway
    };
    (one(1, 2), one(2, 1))
}

/// A router's word to `to` about a packet.
fn unreachable(to: [u8; 4], about: &[u8]) -> Vec<u8> {
    let mut error = packet(ROUTER, to, 56, 0);
    error[9] = 1;
    error[20..28].copy_from_slice(&[3, 1, 0, 0, 0, 0, 0, 0]);
    error[28..].copy_from_slice(&about[..28]);
    error
}

#[test]
fn an_error_travels_with_the_traffic_it_is_about() {
    let (mut a, mut b) = gateways();
    // About a packet from B to A, found by a router behind `a`.
    let about = packet(B, A, 100, 0);
    let error = unreachable(B, &about);
    a.sends(std::slice::from_ref(&error));
    a.sends(std::slice::from_ref(&error));
    assert_eq!(b.receives(), [error.clone(), error]);
    assert_eq!((a.sent(Outbound::Sealed), b.got(Inbound::Delivered)), (2, 2));
}

#[test]
fn an_error_about_the_traffic_of_others_does_not() {
    let (mut a, b) = gateways();
    let others = packet([10, 2, 0, 9], A, 100, 0);
    // Not what the SA carries; and not to the sender of what it is about.
    a.sends(&[unreachable([10, 2, 0, 9], &others), unreachable(B, &packet(A, B, 100, 0))]);
    assert_eq!(a.sent(Outbound::Discarded), 2);
    assert!(a.signals().is_empty(), "no SA is negotiated for an error");
    // Nor without an SA for that of which it tells.
    a.path.sad.remove(cygnet_sad::PairId(1));
    a.sends(&[unreachable(B, &packet(B, A, 100, 0))]);
    assert_eq!(a.sent(Outbound::Discarded), 3);
    assert!(a.signals().is_empty());
    assert_eq!(b.got(Inbound::Delivered), 0);
}

#[test]
fn a_peer_can_only_tell_of_what_its_sa_carries() {
    let (a, mut b) = gateways();
    let key = vec![1; ENCR[0].encryption_len()];
    let integrity = vec![1; ENCR[0].integ_key_len];
    let thief = cygnet_esp::Outbound::new(Spi(1002), &ENCR[0], &key, &integrity, true).expect("key lengths");
    let mut numbers = thief.reserve(2).expect("numbers");
    let mut seal = |inner: &[u8]| {
        let mut sealed = PacketBuf::for_mtu(200);
        sealed.extend(inner).expect("room");
        numbers.seal(NextHeader::IPV4, &mut sealed).expect("room");
        sealed.data().to_vec()
    };
    let right = unreachable(B, &packet(B, A, 100, 0));
    let wrong = unreachable(B, &packet(B, [10, 1, 0, 9], 100, 0));
    for contents in [seal(&right), seal(&wrong)] {
        let (local, remote, datagrams) = (nat_t(1), nat_t(2), &[IoSlice::new(&contents)]);
        let (channel, traffic_class, df) = (Channel::NatT, 0, false);
        let out = Outgoing { datagrams, channel, local, remote, traffic_class, df };
        a.path.net.send(&out).expect("on the wire");
    }
    assert_eq!(b.receives(), [right]);
    assert_eq!(b.got(Inbound::Selector), 1);
}

/// RFC 4301 §5.1.1: the administrator decides whether a sender hears that policy discarded its packet.
#[test]
fn senders_learn_what_policy_forbids_if_they_are_to() {
    let wire = Wire::new();
    let mut a = host(&wire, 1, 2);
    let discarded = packet(A, [10, 2, 99, 1], 100, 7);
    a.sends(std::slice::from_ref(&discarded));
    assert_eq!(a.received(), None, "silence unless it is wanted");

    a.path.tell_prohibited(true);
    let mut later = packet(A, [10, 2, 99, 1], 100, 7);
    later[7] = 9;
    let no_answer = [unreachable([10, 2, 99, 1], &discarded), packet(A, [224, 0, 0, 1], 100, 7), later];
    // An SA that is being asked for may come; one that failed does not for now.
    a.sends(&[packet(A, B, 100, 7)]);
    assert_eq!((a.sent(Outbound::NoSa), a.received()), (1, None));
    let now = Instant::now();
    a.path.shunts.asked(Key::new(POLICY, &Terms::default(), B.into()), now);
    a.path.shunts.failed(POLICY, address(2), (Duration::from_secs(60), Duration::from_secs(60)), now);
    // DISCARD, and again from the cache; PROTECT whose SA can't be had.
    let mut packets = vec![discarded.clone(), discarded.clone(), packet(A, B, 100, 7)];
    packets.extend(no_answer);
    a.sends(&packets);
    assert_eq!((a.sent(Outbound::Failed), a.clear().len()), (1, 0));
    for about in &packets[..3] {
        let told = a.received().expect("an answer");
        // From where the packet went: communication administratively prohibited, with the whole of it.
        assert_eq!((told[9], &told[12..16], &told[16..20], &told[20..22]), (1, &about[16..20], &A[..], &[3, 13][..]));
        assert_eq!(told[28..], about[..]);
    }
    assert_eq!(a.received(), None);

    let v6 = {
        let mut packet = v6_packet(100, 7);
        packet[29] = 3;
        packet
    };
    a.sends(std::slice::from_ref(&v6));
    let told = a.received().expect("an answer");
    assert_eq!((told[6], &told[40..42], &told[48..]), (58, &[1, 1][..], &v6[..]));

    // A scanner is not answered for ever.
    for _ in 0..20 {
        a.sends(&vec![discarded.clone(); 10]);
    }
    let answers = std::iter::from_fn(|| a.received()).count();
    assert!((10..100).contains(&answers), "{answers}");
}
