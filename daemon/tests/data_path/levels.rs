//! `use` and `require`, and what becomes of packets whose SA is not there.

use std::time::{Duration, Instant};

use cygnet::net::Wire;
use cygnet::workers::{Key, Outbound, PER_PEER, Signal};
use cygnet_esp::ENCR;
use cygnet_sad::PairId;
use cygnet_spd::{Action, AfterFailure, Level, Levels, Selector, Terms, WhileNegotiating};

use crate::support::{A, B, Host, POLICY, address, host, host_with, install, new_pair, packet, policy};

/// Longer than any packet waits.
const AGES: Duration = Duration::from_secs(60);
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(2));

fn terms(outbound: Level, negotiating: WhileNegotiating, failed: AfterFailure) -> Terms {
    Terms { levels: Levels { inbound: outbound, outbound }, negotiating, failed, ..Terms::default() }
}

/// A gateway that protects everything on these terms, and its peer.
fn gateways(terms: Terms) -> (Host, Host) {
    let wire = Wire::new();
    let all = || vec!["0.0.0.0/0".parse().expect("a selector")];
    let entry = policy(Selector { local: all(), remote: all() }, Action::Protect(POLICY), terms);
    let a = host_with(wire.host(address(1), 500, 4500), vec![entry]);
    let b = host(&wire, 2, 1);
    install(&b, &ENCR[0], 2, 1, cygnet_sad::Lifetime::default());
    (a, b)
}

fn numbered(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|n| packet(A, B, 100, n)).collect()
}

impl Host {
    fn comes_up(&mut self) {
        let path = std::sync::Arc::clone(&self.path);
        let install = || path.sad.install(Instant::now(), new_pair(&ENCR[0], 1, 2)).expect("an empty SAD");
        self.releaser.after(Instant::now(), install);
        self.check_counters();
    }

    fn fails(&mut self) {
        let path = std::sync::Arc::clone(&self.path);
        let fail = || path.shunts.failed(POLICY, address(2), RETRY, Instant::now());
        self.releaser.after(Instant::now(), fail);
        self.check_counters();
    }
}

#[test]
fn packets_wait_for_their_sa_and_newer_ones_come_after() {
    let (mut a, mut b) = gateways(terms(Level::Require, WhileNegotiating::Hold, AfterFailure::Drop));
    let packets = numbered(10);
    a.sends(&packets[..3]);
    a.sends(&packets[3..6]);
    assert_eq!(a.sent(Outbound::Held), 6);
    assert!(matches!(a.signals()[..], [Signal::Acquire { policy: POLICY, each: false, .. }]));
    a.comes_up();
    a.sends(&packets[6..]);
    assert_eq!(b.receives(), packets);
    assert_eq!((a.sent(Outbound::Held), a.sent(Outbound::Sealed)), (0, 10));
    assert!(a.clear().is_empty());
}

/// Written from issue and RFC 4301 §4.4.1, not from the code: what becomes of a packet while its SA is being
/// negotiated, and after that failed.
#[test]
fn every_combination_of_terms_does_what_it_says() {
    use AfterFailure as F;
    use Level::{Require, Use};
    use Outbound::{Clear, Failed, Held, NoSa};
    use WhileNegotiating as N;
    for (level, negotiating, failed, first, second) in [
        (Require, N::Hold, F::Drop, Held, Failed),
        (Require, N::Drop, F::Drop, NoSa, Failed),
        // Never in the clear where protection is required.
        (Require, N::Clear, F::Clear, NoSa, Failed),
        (Use, N::Hold, F::Drop, Held, Failed),
        (Use, N::Hold, F::Clear, Held, Clear),
        (Use, N::Drop, F::Clear, NoSa, Clear),
        (Use, N::Clear, F::Drop, Clear, Failed),
        (Use, N::Clear, F::Clear, Clear, Clear),
    ] {
        let case = (level, negotiating, failed);
        let (mut a, mut b) = gateways(terms(level, negotiating, failed));
        let packets = numbered(3);
        a.sends(&packets[..1]);
        assert_eq!(a.sent(first), 1, "{case:?}");
        let [Signal::Acquire { policy, flow, .. }] = a.signals()[..] else { panic!("{case:?}: nothing asked for") };
        let key = Key::new(policy, &terms(level, negotiating, failed), flow.remote);
        a.path.shunts.asked(key, Instant::now());

        // What waits meets the same fate as what comes after the failure.
        a.fails();
        assert_eq!(a.sent(Outbound::Held), 0, "{case:?}");
        let before = a.sent(second);
        a.sends(&packets[1..2]);
        assert_eq!(a.sent(second), before + 1, "{case:?}");
        assert!(a.signals().is_empty(), "{case:?}: the next attempt is not due");
        let in_the_clear = a.clear();
        assert_eq!(in_the_clear.len() as u64, a.sent(Clear), "{case:?}");
        assert!(in_the_clear.iter().all(|packet| packets.contains(packet)));

        // Whatever the level: an SA that is there is used.
        a.comes_up();
        a.sends(&packets[2..]);
        assert_eq!((b.receives(), a.clear().len()), (packets[2..].to_vec(), 0), "{case:?}");
    }
}

#[test]
fn packets_in_the_clear_are_protected_as_soon_as_they_can_be_and_in_the_clear_again_after() {
    let (mut a, mut b) = gateways(terms(Level::Use, WhileNegotiating::Clear, AfterFailure::Clear));
    let packets = numbered(6);
    a.sends(&packets[..2]);
    a.comes_up();
    a.sends(&packets[2..4]);
    a.path.sad.remove(PairId(1));
    a.sends(&packets[4..]);
    assert_eq!(a.clear(), [&packets[..2], &packets[4..]].concat());
    assert_eq!(b.receives(), packets[2..4]);
}

#[test]
fn bypassed_packets_leave_as_they_are() {
    let wire = Wire::new();
    let mut a = host(&wire, 1, 2);
    let exempt = packet(A, [10, 2, 98, 1], 100, 0);
    // What follows the packet's own length does not belong to it.
    let padded = [&exempt[..], &[0; 7]].concat();
    a.sends(&[exempt.clone(), padded]);
    assert_eq!(a.clear(), [exempt.clone(), exempt]);
    assert_eq!(a.sent(Outbound::Bypassed), 2);
}

#[test]
fn waiting_is_bounded_in_number_and_time() {
    let (mut a, _b) = gateways(terms(Level::Require, WhileNegotiating::Hold, AfterFailure::Drop));
    for packet in numbered(PER_PEER as u8 + 3) {
        a.sends(&[packet]);
    }
    assert_eq!((a.sent(Outbound::Held), a.sent(Outbound::HoldFull)), (PER_PEER as u64, 3));
    a.releaser.after(Instant::now(), || ());
    assert_eq!(a.sent(Outbound::Held), PER_PEER as u64);
    a.releaser.after(Instant::now() + AGES, || ());
    a.check_counters();
    assert_eq!((a.sent(Outbound::Held), a.sent(Outbound::HoldExpired)), (0, PER_PEER as u64));
    assert!(a.path.hold.is_empty());
}

#[test]
fn replaced_policies_decide_about_what_waits() {
    let (mut a, mut b) = gateways(terms(Level::Require, WhileNegotiating::Hold, AfterFailure::Drop));
    let packets = numbered(4);
    a.sends(&packets[..2]);
    let all = || vec!["0.0.0.0/0".parse().expect("a selector")];
    let relaxed = terms(Level::Use, WhileNegotiating::Clear, AfterFailure::Clear);
    let entry = policy(Selector { local: all(), remote: all() }, Action::Protect(POLICY), relaxed);
    let path = std::sync::Arc::clone(&a.path);
    a.releaser.after(Instant::now(), || path.policies.store(cygnet_spd::Policies::new(vec![entry]).into()));
    a.sends(&packets[2..]);
    assert_eq!(a.clear(), packets);
    a.comes_up();
    a.sends(&packets[..1]);
    assert_eq!(b.receives(), packets[..1]);
}
