//! Peers that vanish, come back and start afresh; and a stop that leaves nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{traffic, tunnel};
use crate::bed::Bed;
use crate::failure::{Result, fail};
use crate::process::until;
use crate::scenario::Who;

/// The peer is killed; our SAs go within `seconds`.
pub(super) fn kill_peer(bed: &mut Bed<'_>, seconds: u64) -> Result<()> {
    bed.theirs.kill()?;
    if bed.ours.control.established()?.is_empty() {
        fail!("our SAs went at once: the peer was not silent, or we believed what nobody authenticated");
    }
    until("the end of our SAs", Duration::from_secs(seconds), || {
        let (ikes, children) = (bed.ours.control.established().ok()?, bed.ours.control.installed().ok()?);
        (ikes.is_empty() && children.is_empty()).then_some(())
    })
}

/// The peer comes back; without anybody's doing the tunnel is up again within `seconds`.
pub(super) fn peer_returns(bed: &mut Bed<'_>, seconds: u64) -> Result<()> {
    bed.theirs.start(&bed.lab.engine)?;
    tunnel::agree(bed, Duration::from_secs(seconds))?;
    traffic::ping(bed)
}

/// A side is killed and starts afresh, then brings the tunnel up: INITIAL_CONTACT clears what the other side still
/// had (RFC 7296 §2.4).
pub(super) fn restart(bed: &mut Bed<'_>, who: Who) -> Result<()> {
    let engine = &bed.lab.engine;
    let side = bed.side_mut(who);
    side.kill()?;
    side.start(engine)?;
    tunnel::up(bed, who)?;
    traffic::ping(bed)
}

/// We stop: successfully, the peer knows, and our network is as it was.
pub(super) fn clean_stop(bed: &mut Bed<'_>) -> Result<()> {
    if let Some(status) = bed.ours.stop()?.filter(|status| !status.success()) {
        fail!("our daemon ended with {status}");
    }
    until("the peer's SAs' end", Duration::from_secs(3), || {
        bed.theirs.control.list().is_ok_and(|ikes| ikes.is_empty()).then_some(())
    })?;
    let after = bed.ours.namespace().footprint()?;
    let (before, after) = (lines(&bed.untouched), lines(&after));
    if before != after {
        let left: Vec<_> = after.symmetric_difference(&before).collect();
        fail!("our network is not as it was: {left:#?}");
    }
    bed.ours.start(&bed.lab.engine)
}

/// The lines that do not change by themselves, as link-local addresses do while they are being checked.
fn lines(footprint: &str) -> BTreeSet<&str> {
    footprint.lines().filter(|line| !line.contains("fe80:") && !line.contains("ff00::")).collect()
}
