//! Every decision, against tables.

use super::AfterFailure as F;
use super::Level::{Require, Use};
use super::Outcome::{self, Clear, Drop, Hold, Protect};
use super::WhileNegotiating as N;
use super::*;

const LEVELS: [Level; 2] = [Use, Require];
const STATES: [SaState; 3] = [SaState::Up, SaState::Negotiating, SaState::Failed];

/// Level outbound, what happens while negotiating, what after failure; then the decision with an SA up, negotiating,
/// failed.
///
/// - An SA that exists is used, whatever the level (RFC 4301 §5.1 step 3a).
/// - Without one, `require` never sends in the clear (RFC 4301 §5.1: "the packet is discarded" or the SA is created
///   first), even if an operator's `clear` says so; `use` does what it is told.
const OUTBOUND: [(Level, N, F, [Outcome; 3]); 12] = [
    (Use, N::Hold, F::Drop, [Protect, Hold, Drop]),
    (Use, N::Hold, F::Clear, [Protect, Hold, Clear]),
    (Use, N::Drop, F::Drop, [Protect, Drop, Drop]),
    (Use, N::Drop, F::Clear, [Protect, Drop, Clear]),
    (Use, N::Clear, F::Drop, [Protect, Clear, Drop]),
    (Use, N::Clear, F::Clear, [Protect, Clear, Clear]),
    (Require, N::Hold, F::Drop, [Protect, Hold, Drop]),
    (Require, N::Hold, F::Clear, [Protect, Hold, Drop]),
    (Require, N::Drop, F::Drop, [Protect, Drop, Drop]),
    (Require, N::Drop, F::Clear, [Protect, Drop, Drop]),
    (Require, N::Clear, F::Drop, [Protect, Drop, Drop]),
    (Require, N::Clear, F::Clear, [Protect, Drop, Drop]),
];

/// Level inbound, and what becomes of clear traffic that a policy would have protected: RFC 4301 §5.2 step 3b has it
/// discarded, and `use` is there to accept it.
const INBOUND: [(Level, Outcome); 2] = [(Use, Clear), (Require, Drop)];

/// Everything that terms can be, level by level.
fn all() -> impl Iterator<Item = Terms> {
    let flags = [false, true].map(|flag| Pfp { remote_address: flag, local_port: flag, ..Pfp::default() });
    let modes = [Mode::Tunnel, Mode::Transport];
    OUTBOUND.into_iter().flat_map(move |(outbound, negotiating, failed, _)| {
        LEVELS.into_iter().flat_map(move |inbound| {
            modes.into_iter().flat_map(move |mode| {
                let levels = Levels { inbound, outbound };
                flags.map(|pfp| Terms { mode, levels, negotiating, failed, pfp, ..Terms::default() })
            })
        })
    })
}

#[test]
fn what_is_sent_is_decided_by_the_table() {
    for terms in all() {
        let key = (terms.levels.outbound, terms.negotiating, terms.failed);
        let (.., expected) = OUTBOUND.into_iter().find(|(level, n, f, _)| (*level, *n, *f) == key).unwrap();
        assert_eq!(STATES.map(|state| terms.outbound(state)), expected, "{terms:?}");
        let [up, _, failed] = expected;
        let other = Terms { acquire: Acquire::Other, ..terms };
        assert_eq!(STATES.map(|state| other.outbound(state)), [up, failed, failed], "nothing is waited for: {terms:?}");
    }
}

#[test]
fn what_arrives_in_the_clear_is_decided_by_the_table() {
    for terms in all() {
        let (_, expected) = INBOUND.into_iter().find(|(level, _)| *level == terms.levels.inbound).unwrap();
        assert_eq!(terms.inbound_clear(), expected, "{terms:?}");
    }
}

#[test]
fn the_tables_have_every_combination() {
    for level in LEVELS {
        for negotiating in [N::Hold, N::Drop, N::Clear] {
            for failed in [F::Drop, F::Clear] {
                let rows = OUTBOUND.iter().filter(|(l, n, f, _)| (*l, *n, *f) == (level, negotiating, failed));
                assert_eq!(rows.count(), 1);
            }
        }
    }
}

#[test]
fn nothing_said_means_protected_or_dropped() {
    let terms = Terms::default();
    assert_eq!(STATES.map(|state| terms.outbound(state)), [Protect, Hold, Drop]);
    assert_eq!(terms.inbound_clear(), Drop);
}
