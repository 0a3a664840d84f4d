//! Negotiations that must fail, clearly and soon, and leave the way open for a later attempt.

use std::fs;
use std::time::Duration;

use crate::bed::Bed;
use crate::failure::{Result, fail};
use crate::process::until;
use crate::scenario::{Told, Who};

/// The initiator's attempt fails, no Child SA is left on either side, and both logs tell.
pub(super) fn refused(bed: &Bed<'_>, told_texts: &Told) -> Result<()> {
    let initiate = ["--initiate", "--child", "net", "--timeout", "15"];
    let finished = bed.initiator().control.attempt(&initiate, Duration::from_secs(20))?;
    if finished.status.success() {
        fail!("the attempt should have been refused:\n{}", finished.text);
    }
    for side in [&bed.ours, &bed.theirs] {
        until(&format!("{} without Child SA", side.who.label()), Duration::from_secs(10), || {
            side.control.installed().is_ok_and(|installed| installed.is_empty()).then_some(())
        })?;
    }
    told(bed, told_texts)
}

/// Both logs hold what is expected.
pub(super) fn told(bed: &Bed<'_>, told: &Told) -> Result<()> {
    let ours = if bed.is_self_check() { &[][..] } else { &told.ours };
    for (side, texts) in [(&bed.ours, ours), (&bed.theirs, &told.theirs)] {
        for text in texts {
            until(&format!("{} logging {text:?}", side.who.label()), Duration::from_secs(3), || {
                let log = fs::read_to_string(side.log()).unwrap_or_default();
                text.split('|').any(|alternative| log.contains(alternative)).then_some(())
            })?;
        }
    }
    Ok(())
}

/// Corrects what was configured wrong. What is left of the failed attempts is closed first.
pub(super) fn correct(bed: &mut Bed<'_>) -> Result<()> {
    for side in [&bed.ours, &bed.theirs] {
        // There may be nothing to terminate.
        side.control.attempt(&["--terminate", "--ike", "tunnel", "--timeout", "10"], Duration::from_secs(15))?;
    }
    let (case, pki) = (bed.case.clone(), bed.pki.clone());
    for who in [Who::Theirs, Who::Ours] {
        if case.scenario.wrong.of(who).is_empty() {
            continue;
        }
        let engine = &bed.lab.engine;
        let side = bed.side_mut(who);
        side.configure(&case, pki.as_deref(), false)?;
        if side.is_cygnet() {
            side.stop()?;
            side.start(engine)?;
        } else {
            side.load()?;
        }
    }
    Ok(())
}
