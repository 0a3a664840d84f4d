//! Scenarios on the whole database. Time is a number of seconds after an arbitrary instant.

mod limits;
mod lookup;
mod replacement;
mod resources;
mod scale;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cygnet_esp::tunnel::Rules;
use cygnet_esp::{Encr, Inbound, NextHeader, Outbound, PacketBuf, Spi};
use cygnet_spd::{Direction, Flow, Mode, PolicyId, Ports, Selector};

use crate::*;

const POLICY: PolicyId = PolicyId(1);
const WINDOW: u32 = 64;

/// `seconds` after the beginning of all tests.
fn at(seconds: u64) -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START + Duration::from_secs(seconds)
}

/// AES-GCM-16 with a 128-bit key.
fn encr() -> &'static Encr {
    Encr::find(20, Some(128), None).unwrap()
}

fn key(encr: &Encr) -> Vec<u8> {
    vec![7; encr.encryption_len()]
}

fn selector(local: &str, remote: &str) -> Selector {
    let list = |text: &str| text.split(' ').map(|ts| ts.parse().unwrap()).collect();
    Selector { local: list(local), remote: list(remote) }
}

/// A pair that talks to itself: both halves have one SPI and key.
fn new(id: u64, remote: &str) -> NewPair {
    let spi = Spi(1000 + id as u32);
    let encr = encr();
    NewPair {
        id: PairId(id),
        policy: POLICY,
        selector: selector("10.1.0.0/16 2001:db8:1::/48", remote),
        mode: Mode::Tunnel,
        headers: Rules::default(),
        original: None,
        origin: Origin::Negotiated,
        inbound: Inbound::new(spi, encr, &key(encr), &[], true, WINDOW).unwrap(),
        outbound: Outbound::new(spi, encr, &key(encr), &[], true).unwrap(),
        path: Path {
            local: "192.0.2.1:4500".parse().unwrap(),
            remote: "192.0.2.2:4500".parse().unwrap(),
            udp_encapsulation: true,
        },
        lifetime: Lifetime::default(),
        resource: None,
        replaces: None,
        activation: Activation::Now,
    }
}

/// A ping to `remote`.
fn to(remote: &str) -> Flow {
    let remote: std::net::IpAddr = remote.parse().unwrap();
    let local = if remote.is_ipv4() { "10.1.0.1" } else { "2001:db8:1::1" }.parse().unwrap();
    Flow { direction: Direction::Outbound, local, remote, protocol: 1, ports: Ports::Icmp { kind: 8, code: 0 } }
}

/// The pair that a packet to `remote` takes.
fn chosen(sad: &Sad, remote: &str) -> Option<u64> {
    sad.snapshot().outbound(POLICY, &to(remote)).map(|sa| sa.id().0)
}

/// One packet received on pair `id`.
fn receive(sad: &Sad, id: u64, octets: u64) -> Usage {
    sad.snapshot().inbound(Spi(1000 + id as u32)).unwrap().count(at(0), 1, octets)
}

/// One packet sent on the pair in use.
fn send(sad: &Sad, remote: &str, octets: u64) -> Usage {
    sad.snapshot().outbound(POLICY, &to(remote)).unwrap().count(at(0), 1, octets)
}

fn sealed(sa: &OutboundSa, payload: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::for_mtu(1500);
    packet.extend(payload).unwrap();
    sa.esp().reserve(1).unwrap().seal(NextHeader::IPV4, &mut packet).unwrap();
    packet
}

fn copy(packet: &PacketBuf) -> PacketBuf {
    let mut copy = PacketBuf::for_mtu(1600);
    copy.extend(packet.data()).unwrap();
    copy
}

#[test]
fn a_packet_goes_out_and_comes_in() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    let tables = sad.snapshot();
    let mut packet = sealed(tables.outbound(POLICY, &to("10.2.0.1")).unwrap(), b"inner");
    let sa = tables.inbound(Spi::of_packet(packet.data()).unwrap()).unwrap();
    assert_eq!(sa.esp().open(&mut packet), Ok(NextHeader::IPV4));
    assert_eq!(packet.data(), b"inner");
    assert!(sa.selector().contains(&Flow { direction: Direction::Inbound, ..to("10.2.0.1") }));
    assert!(!sa.selector().contains(&Flow { direction: Direction::Inbound, ..to("10.3.0.1") }));
}

#[test]
fn every_packet_ends_in_one_counter() {
    let (encr, sad) = (encr(), Sad::new());
    // Without extended numbers, or the last packet would count as one from the far future, and a forged one.
    let inbound = Inbound::new(Spi(1001), encr, &key(encr), &[], false, WINDOW).unwrap();
    let outbound = Outbound::new(Spi(1001), encr, &key(encr), &[], false).unwrap();
    sad.install(at(0), NewPair { inbound, outbound, ..new(1, "10.2.0.0/16") }).unwrap();
    let tables = sad.snapshot();
    let (out, sa) = (tables.outbound(POLICY, &to("10.2.0.1")).unwrap(), tables.inbound(Spi(1001)).unwrap());

    let first = sealed(out, b"0");
    let mut arrivals = vec![copy(&first), copy(&first)];
    let mut forged = sealed(out, b"0");
    forged.data_mut()[20] ^= 1;
    arrivals.push(forged);
    let mut cut = sealed(out, b"0");
    cut.truncate(11);
    arrivals.push(cut);
    arrivals.extend((0..WINDOW).map(|_| sealed(out, b"0")));
    arrivals.push(copy(&first));

    let seen = arrivals.len() as u64;
    for packet in &mut arrivals {
        match sa.esp().open(packet) {
            Ok(_) => assert!(sa.count(at(3), 1, packet.len() as u64).is_nothing()),
            Err(error) => sa.count_drop(error, 1),
        }
    }
    let status = sad.status(PairId(1)).unwrap();
    let drops: Vec<_> = InboundDrop::ALL.iter().map(|&d| (d, status.pair.inbound_drops(d))).collect();
    assert_eq!(status.inbound.packets + drops.iter().map(|(_, n)| n).sum::<u64>(), seen);
    assert_eq!(status.inbound.packets, u64::from(WINDOW) + 1);
    assert_eq!(status.inbound.octets, u64::from(WINDOW) + 1);
    for (reason, count) in drops {
        use InboundDrop::*;
        let expected = u64::from(matches!(reason, Replayed | Forged | Malformed | Old));
        assert_eq!(count, expected, "{}", reason.name());
    }
    assert_eq!(status.inbound.last_used, Some(at(3)));
    assert_eq!(status.outbound, Traffic::default());
}

#[test]
fn drop_names_are_distinct() {
    let mut names: Vec<_> = InboundDrop::ALL.iter().map(|d| d.name()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), InboundDrop::ALL.len());
    let mut names: Vec<_> = OutboundDrop::ALL.iter().map(|d| d.name()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), OutboundDrop::ALL.len());
}

#[test]
fn transport_mode_has_its_own_reasons() {
    use cygnet_esp::transport::{DecapsulateError, EncapsulateError};
    for (error, reason) in [
        (EncapsulateError::Malformed, OutboundDrop::Malformed),
        (EncapsulateError::Fragment, OutboundDrop::Fragment),
        (EncapsulateError::Options, OutboundDrop::Options),
    ] {
        assert_eq!(OutboundDrop::from(error), reason);
    }
    for (error, reason) in [
        (DecapsulateError::Dummy, InboundDrop::Dummy),
        (DecapsulateError::ExtensionHeader, InboundDrop::ExtensionHeader),
        (DecapsulateError::Malformed, InboundDrop::Payload),
        (DecapsulateError::UnlikeAddresses, InboundDrop::Payload),
        (DecapsulateError::NoRoom, InboundDrop::Payload),
    ] {
        assert_eq!(InboundDrop::from(error), reason);
    }
}

#[test]
fn a_status_shows_the_whole_pair() {
    let sad = Sad::new();
    let lifetime = Lifetime { soft: Limits { packets: Some(9), ..Limits::default() }, ..Lifetime::default() };
    let pair = NewPair { lifetime, mode: Mode::Transport, activation: Activation::OnUse, ..new(7, "10.2.0.0/16") };
    sad.install(at(5), pair).unwrap();
    sad.install(at(6), new(3, "10.3.0.0/16")).unwrap();
    let status = |id| sad.status(PairId(id)).unwrap();
    let (standing, pair) = (status(7).standing, status(7).pair);
    assert_eq!((standing, pair.installed(), pair.mode()), (Standing::Waiting, at(5), Mode::Transport));
    assert_eq!((pair.encr(), pair.esn(), pair.replay_window()), (encr(), true, WINDOW));
    assert_eq!((*pair.lifetime(), pair.origin(), pair.inner_mtu()), (lifetime, Origin::Negotiated, None));
    assert_eq!((pair.order(), status(3).pair.order()), (1, 2));
    assert_eq!((status(7).inbound_sequence, status(7).outbound_sequence), (0, 0));

    sad.activate(PairId(7));
    let tables = sad.snapshot();
    let out = tables.outbound(POLICY, &to("10.2.0.1")).unwrap();
    let mut second = [sealed(out, b"1"), sealed(out, b"2")].into_iter().next_back().unwrap();
    tables.inbound(Spi(1007)).unwrap().esp().open(&mut second).unwrap();
    out.esp().reserve(1).unwrap();
    assert_eq!((status(7).inbound_sequence, status(7).outbound_sequence), (2, 3));
    assert_eq!(status(7).standing, Standing::Active);
    assert_eq!(pair.overhead(), cygnet_esp::Overhead::transport(encr(), false, true));
    assert_eq!(status(3).pair.overhead(), cygnet_esp::Overhead::tunnel(encr(), false, true));
    pair.set_inner_mtu(Some(1398));
    assert_eq!(out.inner_mtu(), Some(1398));
    pair.set_inner_mtu(Some(usize::MAX));
    assert!(out.inner_mtu().unwrap() > 70_000);
    pair.set_inner_mtu(None);
    assert_eq!(out.inner_mtu(), None);
    drop(tables);
    let last = sad.remove(PairId(7)).unwrap();
    assert_eq!((last.inbound_sequence, last.outbound_sequence), (2, 3), "what it came to is told at the end");
}

#[test]
fn a_peer_that_moves_is_followed() {
    let sad = Sad::new();
    let pair = sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    let tables = sad.snapshot();
    assert!(sad.update_peer(PairId(1), "198.51.100.7:1024".parse().unwrap()));
    let path = tables.outbound(POLICY, &to("10.2.0.1")).unwrap().path();
    assert_eq!(path.remote, "198.51.100.7:1024".parse().unwrap());
    assert_eq!(path.local, "192.0.2.1:4500".parse().unwrap());
    assert_eq!(path, pair.path());
    assert!(!sad.update_peer(PairId(2), "198.51.100.7:1024".parse().unwrap()));
}

#[test]
fn names_and_spis_are_unique() {
    let sad = Sad::new();
    sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    assert_eq!(sad.install(at(0), new(1, "10.2.0.0/16")).unwrap_err(), InstallError::Id);
    assert_eq!(sad.install(at(0), NewPair { id: PairId(2), ..new(1, "10.2.0.0/16") }).unwrap_err(), InstallError::Spi);
    assert_eq!(sad.snapshot().len(), 1);
    assert!(sad.remove(PairId(2)).is_none());
}

#[test]
fn keys_go_with_the_last_reader() {
    let sad = Sad::new();
    let pair = sad.install(at(0), new(1, "10.2.0.0/16")).unwrap();
    let batch = sad.snapshot();
    let inbound = std::sync::Arc::downgrade(batch.inbound(Spi(1001)).unwrap());
    let outbound = std::sync::Arc::downgrade(batch.outbound(POLICY, &to("10.2.0.1")).unwrap());

    let last = sad.remove(PairId(1)).unwrap();
    assert!(sad.snapshot().inbound(Spi(1001)).is_none());
    assert!(batch.inbound(Spi(1001)).is_some(), "a batch finishes with what it began");
    assert!(inbound.upgrade().is_some() && outbound.upgrade().is_some());
    drop(batch);
    assert!(inbound.upgrade().is_none() && outbound.upgrade().is_none());
    assert_eq!(last.pair.id(), pair.id(), "the pair itself holds no key");
}
