//! Bringing the tunnel up, and the two sides' agreement about it.

use std::time::Duration;

use crate::bed::Bed;
use crate::control::{ChildSa, IkeSa};
use crate::failure::{Result, fail};
use crate::process::until;
use crate::scenario::Who;

/// One IKE SA with one Child SA that both sides tell of alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agreement {
    /// The SPIs of the IKE SA.
    pub(super) ike: (String, String),
    /// What we receive on and what we send on.
    pub(super) child: (String, String),
}

/// `who` brings the tunnel up; both sides report it.
pub(super) fn up(bed: &Bed<'_>, who: Who) -> Result<()> {
    let initiate = ["--initiate", "--child", "net", "--timeout", "20"];
    let finished = bed.side(who).control.attempt(&initiate, Duration::from_secs(30))?;
    if !finished.status.success() {
        fail!("initiating failed:\n{}", finished.text);
    }
    agree(bed, Duration::from_secs(5)).map(drop)
}

/// Waits until both sides tell of the same single IKE SA and the same single pair of Child SAs.
pub(super) fn agree(bed: &Bed<'_>, deadline: Duration) -> Result<Agreement> {
    let mut seen = String::new();
    let found = until("agreement of both sides", deadline, || {
        let (ours, theirs) = (bed.ours.control.established(), bed.theirs.control.established());
        seen = format!("ours: {ours:?}\ntheirs: {theirs:?}");
        agreement(&ours.ok()?, &theirs.ok()?)
    });
    match found {
        Ok(agreement) => Ok(agreement),
        Err(cause) => fail!("{cause}\n{seen}"),
    }
}

fn agreement(ours: &[IkeSa], theirs: &[IkeSa]) -> Option<Agreement> {
    let ([ours], [theirs]) = (ours, theirs) else { return None };
    let (ours_child, theirs_child) = (only_installed(ours)?, only_installed(theirs)?);
    let mirrored = ours_child.spi_in == theirs_child.spi_out && ours_child.spi_out == theirs_child.spi_in;
    (ours.spis == theirs.spis && mirrored)
        .then(|| Agreement { ike: ours.spis.clone(), child: (ours_child.spi_in.clone(), ours_child.spi_out.clone()) })
}

fn only_installed(ike: &IkeSa) -> Option<&ChildSa> {
    let mut installed = ike.children.iter().filter(|child| child.state == "INSTALLED");
    installed.next().filter(|_| installed.next().is_none())
}
