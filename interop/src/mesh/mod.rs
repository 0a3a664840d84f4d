//! Scenarios with more than two hosts: nodes on one Ethernet, which switch protection on and off while they talk, or
//! meet an attacker, or are killed.
//!
//! | file | holds |
//! |---|---|
//! | `net` | the Ethernet and its nodes |
//! | `node` | a node: its network, its configuration, its daemon |
//! | `kernel` | a node that runs strongSwan over its kernel's own ESP |
//! | `authority` | certificates for the nodes |
//! | `traffic` | TCP and ping that go on all the time, and what became of them |
//! | `no_downtime` | nothing → `use` → `require` → new authority → off, nothing lost |
//! | `forged` | clear packets in a peer's name |
//! | `crash` | a killed daemon |
//! | `offloads` | packets of every size and shape, with offloads on and off |

mod authority;
mod crash;
mod forged;
mod kernel;
mod net;
mod no_downtime;
mod node;
mod offloads;
mod traffic;

use std::path::Path;

use serde::Deserialize;

pub(crate) use traffic::echo;

use crate::bed::Lab;
use crate::failure::Result;
use crate::scenario::Case;

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Play {
    /// Protection is switched on, sharpened, re-keyed from another authority and switched off under traffic.
    NoDowntime,
    /// Forged clear packets against `require`.
    Forged,
    /// A killed daemon's host, and its next start.
    Crash,
    /// Packets of every size and shape between two gateways, with offloads on and off.
    Offloads,
}

/// Plays it, as `case` wants it.
///
/// # Errors
/// When something is not as the scenario says.
pub(crate) fn perform(lab: &Lab, play: Play, case: &Case, number: usize, folder: &Path) -> Result<()> {
    match play {
        Play::NoDowntime => no_downtime::play(lab, number, folder),
        Play::Forged => forged::play(lab, number, folder),
        Play::Crash => crash::play(lab, number, folder),
        Play::Offloads => offloads::play(lab, number, folder, case.esp),
    }
}
