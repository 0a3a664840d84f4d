//! Rekeying under traffic: make-before-break, whoever begins (RFC 7296 §2.8).

use std::time::Duration;

use super::traffic::Probing;
use super::tunnel::{Agreement, agree};
use crate::bed::Bed;
use crate::failure::Result;
use crate::process::until;
use crate::scenario::Who;

const PATIENCE: Duration = Duration::from_secs(5);

/// Child SA and IKE SA are rekeyed by either side while either side probes, 10 ms apart; no packet is lost.
pub(super) fn rekey(bed: &Bed<'_>) -> Result<()> {
    let probing = [Probing::start(bed, Who::Ours)?, Probing::start(bed, Who::Theirs)?];
    let mut before = agree(bed, PATIENCE)?;
    for who in [Who::Ours, Who::Theirs] {
        bed.side(who).control.swanctl(&["--rekey", "--child", "net"])?;
        before = renewed(bed, &format!("new Child SAs after {} asked", who.label()), |after| {
            after.ike == before.ike && after.child.0 != before.child.0 && after.child.1 != before.child.1
        })?;
        bed.side(who).control.swanctl(&["--rekey", "--ike", "tunnel"])?;
        before = renewed(bed, &format!("a new IKE SA after {} asked", who.label()), |after| {
            after.ike.0 != before.ike.0 && after.ike.1 != before.ike.1 && after.child == before.child
        })?;
    }
    probing.into_iter().try_for_each(Probing::finish)
}

fn renewed(bed: &Bed<'_>, what: &str, is_new: impl Fn(&Agreement) -> bool) -> Result<Agreement> {
    until(what, PATIENCE, || agree(bed, PATIENCE).ok().filter(|after| is_new(after)))
}
