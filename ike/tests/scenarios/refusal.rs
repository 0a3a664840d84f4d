//! What does not come about says so on both sides, nothing hangs, and a later correct attempt works.

use std::sync::Arc;

use cygnet_ike::FailureCause;
use cygnet_ike::config::{LocalAuth, PeerAuth};
use cygnet_ike::identity::IdPattern;
use cygnet_ike::proposal::Protocol;
use cygnet_ike::secret::Secret;
use cygnet_ike::testing::Side;
use cygnet_ike::testing::scenario::{proposals, selectors};

use super::*;

/// One side is bent; whichever side initiates, the causes are reported. `(initiator, responder)` causes.
#[track_caller]
fn refused(bend: impl Fn(&mut Scenario) + Copy, causes: (FailureCause, FailureCause), ike_lives: bool) {
    for (initiator, bent) in [(Side::A, Side::A), (Side::A, Side::B), (Side::B, Side::A)] {
        let mut pair = psk(1, |side, scenario| {
            if side == bent {
                bend(scenario);
            }
        });
        initiate(&mut pair, initiator);
        pair.run_for(60 * SECOND);
        let (i, r) = (pair.node(initiator), pair.node(initiator.other()));
        let seen = (failures(i), failures(r));
        assert_eq!((seen.0[0].cause, seen.1[0].cause), causes, "\n{:#?}\n{:#?}", i.events, r.events);
        for failure in [seen.0[0], seen.1[0]] {
            assert!(!failure.offered.is_empty() && !failure.wanted.is_empty() && !failure.remedy.is_empty());
        }
        assert_eq!((i.installed(), r.installed()), ((0, 0), (0, 0)));
        let ikes = usize::from(ike_lives);
        assert_eq!((i.endpoint.footprint(), r.endpoint.footprint()), (ikes, ikes));
    }
}

#[test]
fn wrong_secret() {
    let bend = |scenario: &mut Scenario| {
        let other = || Arc::new(Secret::new(b"something else".to_vec()));
        scenario.connection.local.auth = LocalAuth::Psk(other());
        scenario.connection.peer.auth = PeerAuth::Psk(other());
    };
    refused(bend, (FailureCause::Authentication, FailureCause::Authentication), false);
}

#[test]
fn a_wrong_secret_in_the_response_is_told_to_the_responder() {
    // The responder accepts the initiator, but not the reverse: it hears of it afterwards (RFC 7296 §2.21.2).
    let mut pair = psk(2, |side, scenario| {
        if side == Side::A {
            scenario.connection.peer.auth = PeerAuth::Psk(Arc::new(Secret::new(b"something else".to_vec())));
        }
    });
    initiate(&mut pair, Side::A);
    pair.run_for(60 * SECOND);
    assert_eq!(failures(&pair.a)[0].cause, FailureCause::Authentication);
    assert_eq!(failures(&pair.b)[0].cause, FailureCause::Authentication);
    assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
    assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
}

#[test]
fn wrong_identity() {
    let bend = |scenario: &mut Scenario| scenario.connection.local.id = "mallory.example".parse().unwrap();
    refused(bend, (FailureCause::Authentication, FailureCause::Authentication), false);
    let bend = |scenario: &mut Scenario| {
        scenario.connection.peer.id = IdPattern::Exact("carol.example".parse().unwrap());
    };
    refused(bend, (FailureCause::Authentication, FailureCause::Authentication), false);
}

#[test]
fn an_unexpected_identity_in_the_response() {
    // The initiator does not say whom it wants, but is not content with whom it gets.
    let mut pair = psk(3, |side, scenario| {
        if side == Side::B {
            scenario.connection.local.id = "mallory.example".parse().unwrap();
        } else {
            scenario.connection.peer.id = IdPattern::Any;
        }
    });
    initiate(&mut pair, Side::A);
    assert_up(&mut pair);
    assert_eq!(pair.a.ike_sas()[0].remote_id, Some("mallory.example".parse().unwrap()));
}

#[test]
fn no_common_ike_proposal() {
    let bend = |scenario: &mut Scenario| {
        scenario.connection.proposals = proposals(Protocol::Ike, "aes128gcm16-prfsha256-x25519");
    };
    refused(bend, (FailureCause::NoProposal, FailureCause::NoProposal), false);
}

#[test]
fn no_common_esp_proposal_keeps_the_ike_sa() {
    let bend = |scenario: &mut Scenario| scenario.child.proposals = proposals(Protocol::Esp, "aes256-sha256");
    refused(bend, (FailureCause::NoProposal, FailureCause::NoProposal), true);
}

#[test]
fn unacceptable_selectors_keep_the_ike_sa() {
    let bend = |scenario: &mut Scenario| scenario.child.local_ts = selectors(&["172.16.0.0/12"]);
    refused(bend, (FailureCause::Selectors, FailureCause::Selectors), true);
}

#[test]
fn no_connection_for_the_address() {
    let mut pair = psk(4, |side, scenario| {
        if side == Side::B {
            scenario.connection.remote_addrs = vec!["203.0.113.0/24".parse().unwrap()];
        }
    });
    initiate(&mut pair, Side::A);
    assert_eq!(failures(&pair.a)[0].cause, FailureCause::NoProposal);
    assert_eq!(failures(&pair.b)[0].cause, FailureCause::NoConnection);
}

#[test]
fn a_later_correct_attempt_works() {
    let mut pair = psk(5, |side, scenario| {
        if side == Side::B {
            scenario.connection.local.auth = LocalAuth::Psk(Arc::new(Secret::new(b"wrong".to_vec())));
        }
    });
    initiate(&mut pair, Side::A);
    assert!(!failures(&pair.a).is_empty());
    pair.reconfigure(Side::B, Scenario::psk(Side::B).build());
    initiate(&mut pair, Side::A);
    assert_up(&mut pair);
}

#[test]
fn unknown_names_are_refused() {
    let mut pair = psk(6, |_, _| {});
    pair.command(Side::A, Command::Initiate { connection: "nowhere".into(), child: None });
    pair.command(Side::A, Command::Initiate { connection: "net".into(), child: Some("nothing".into()) });
    assert_eq!(failures(&pair.a).len(), 2);
    assert_eq!(pair.a.endpoint.footprint(), 0);
}

#[test]
fn a_child_that_failed_can_be_asked_for_again() {
    let mut pair = psk(7, |side, scenario| {
        if side == Side::B {
            scenario.child.local_ts = selectors(&["172.16.0.0/12"]);
        }
    });
    initiate(&mut pair, Side::A);
    initiate(&mut pair, Side::A);
    assert_eq!((failures(&pair.a).len(), failures(&pair.b).len()), (2, 2));
    assert_eq!(pair.a.ike_sas().len(), 1);
}

#[test]
fn algorithms_that_another_connection_allows() {
    // IKE_SA_INIT finds connections by address; what it agrees upon has to be good enough for the identity as well.
    let weak = "aes128gcm16-prfsha256-modp2048";
    for others in [IdPattern::Exact("carol.example".parse().unwrap()), IdPattern::Any] {
        let mut pair = psk(4, |side, scenario| {
            let mut lax = scenario.connection.clone();
            lax.proposals = proposals(Protocol::Ike, weak);
            if side == Side::A {
                scenario.connection = lax;
            } else {
                lax.peer.id = others.clone();
                scenario.config.connections.push(Arc::new(lax));
            }
        });
        initiate(&mut pair, Side::A);
        pair.run_for(60 * SECOND);
        assert_eq!(failures(&pair.b)[0].cause, FailureCause::NoProposal);
        assert_eq!(failures(&pair.a)[0].cause, FailureCause::Authentication);
        assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
    }
}

#[test]
fn the_secret_of_all_comers_does_not_pass_for_a_peer_that_is_known_otherwise() {
    // RFC 4301 §4.4.3.1: the entry that names the identity says how it is proven.
    let mut pair = psk(5, |side, scenario| {
        if side == Side::B {
            let mut any = scenario.connection.clone();
            any.peer.id = IdPattern::Any;
            scenario.config.connections.push(Arc::new(any));
            scenario.connection.peer.auth = PeerAuth::Certificate(Arc::default());
        }
    });
    initiate(&mut pair, Side::A);
    pair.run_for(60 * SECOND);
    assert_eq!(failures(&pair.b)[0].cause, FailureCause::Authentication);
    assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
}
