//! A packet came out of a Child SA that its selectors do not hold (RFC 4301 §5.2, RFC 7296 §3.10.1).

use cygnet_ike::limits::{INVALID_SELECTORS_PAUSE, OFFENDING_PACKET};

use super::*;

/// What a node was told: by which IKE SA, about which child, with which packet.
fn told(node: &Node) -> Vec<(IkeSaId, cygnet_ike::ChildId, &[u8])> {
    let about = |event| match event {
        &Event::InvalidSelectors { ike, child, ref packet } => Some((ike, child, &packet[..])),
        _ => None,
    };
    node.events.iter().filter_map(about).collect()
}

fn complain(pair: &mut Pair, packet: &[u8]) {
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::InvalidSelectors { child, packet: packet.to_vec() });
}

/// A: HDR, SK {N(INVALID_SELECTORS)} -->, B: <-- HDR, SK {}; and all is as before.
#[test]
fn the_peer_hears_which_packet_was_dropped_and_nothing_changes() {
    for initiator in [Side::A, Side::B] {
        let mut pair = tunnel(40, initiator, |_, _| {});
        let spis = pair.a.children()[0].spi_in;
        complain(&mut pair, b"the start of a packet");
        pair.run();
        let (ike, child) = (the_ike(&pair.b), pair.b.children()[0].id);
        assert_eq!(told(&pair.b), [(ike, child, &b"the start of a packet"[..])]);
        assert!(told(&pair.a).is_empty() && !pair.a.is_busy());
        assert_up(&mut pair);
        assert_eq!(pair.a.children()[0].spi_in, spis);
    }
}

/// One exchange at a time, none within the pause, and no more of the packet than ICMP would quote.
#[test]
fn packets_outside_their_selectors_do_not_cost_an_exchange_each() {
    let mut pair = tunnel(41, Side::A, |_, _| {});
    for n in 0..100 {
        complain(&mut pair, &[n; 1400]);
    }
    pair.run();
    for n in 0..100 {
        complain(&mut pair, &[n; 1400]);
        pair.run();
    }
    assert_eq!(told(&pair.b).iter().map(|(.., packet)| *packet).collect::<Vec<_>>(), [&[0; OFFENDING_PACKET][..]]);
    pair.run_for(INVALID_SELECTORS_PAUSE);
    complain(&mut pair, b"again");
    pair.run();
    assert_eq!(told(&pair.b).len(), 2);
    assert_up(&mut pair);
}

/// It waits for an exchange under way, and is forgotten if its child is gone by then: the next packet is one of another.
#[test]
fn it_waits_its_turn_and_is_not_told_of_a_child_that_is_gone() {
    let mut pair = tunnel(42, Side::A, |_, _| {});
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::RekeyChild(child));
    complain(&mut pair, b"meanwhile");
    pair.run();
    assert!(told(&pair.b).is_empty() && !pair.a.is_busy());
    complain(&mut pair, b"of the new pair");
    pair.run();
    assert_eq!(told(&pair.b).iter().map(|(.., packet)| *packet).collect::<Vec<_>>(), [b"of the new pair"]);
    assert_up(&mut pair);

    let mut pair = tunnel(43, Side::A, |_, _| {});
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::DeleteChild(child));
    for _ in 0..10 {
        pair.command(Side::A, Command::InvalidSelectors { child, packet: vec![1] });
    }
    pair.run();
    assert!(told(&pair.b).is_empty());
    pair.command(Side::A, Command::InvalidSelectors { child, packet: vec![1] });
    pair.run();
    assert!(told(&pair.b).is_empty() && !pair.a.is_busy());
    assert_eq!((pair.a.ike_sas().len(), pair.b.ike_sas().len()), (1, 1));
}
