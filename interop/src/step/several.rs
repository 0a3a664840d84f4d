//! Several Child SAs with the same selectors, each for one resource (RFC 9611).

use std::collections::BTreeSet;
use std::time::Duration;

use super::traffic::{self, Probing};
use crate::bed::Bed;
use crate::failure::{Context, Result, fail};
use crate::process::until;
use crate::scenario::Who;

const PATIENCE: Duration = Duration::from_secs(10);

/// What we receive on and what we send on, of each Child SA.
type Pairs = BTreeSet<(String, String)>;

/// There are `count`; each is rekeyed by either side while either side probes; one that we delete comes back with traffic.
pub(super) fn several(bed: &Bed<'_>, count: usize) -> Result<()> {
    let mut before = coax(bed, count)?;
    let probing = [Probing::start(bed, Who::Ours)?, Probing::start(bed, Who::Theirs)?];
    for who in [Who::Ours, Who::Theirs] {
        bed.side(who).control.swanctl(&["--rekey", "--child", "net"])?;
        before = until(&format!("successors of all after {} asked", who.label()), PATIENCE, || {
            agree(bed, count).ok().filter(|after| after.is_disjoint(&before))
        })?;
    }
    probing.into_iter().try_for_each(Probing::finish)?;
    let installed = bed.ours.control.installed()?;
    let numbered: Vec<_> = installed.iter().filter(|child| child.cpu.is_some()).collect();
    if numbered.len() + 1 != count {
        fail!("of {count} Child SAs, {} belong to a worker, and one should not", numbered.len());
    }
    let id = &numbered.first().context("none belongs to a worker")?.id;
    bed.ours.control.swanctl(&["--terminate", "--child-id", id])?;
    agree(bed, count - 1)?;
    coax(bed, count).map(drop)
}

/// Traffic brings up `count`. strongSwan sends on a new one with its response, which may take us longer to read than the
/// packet that comes after it: whether these get through does not matter.
fn coax(bed: &Bed<'_>, count: usize) -> Result<Pairs> {
    let _ = traffic::ping(bed);
    agree(bed, count)
}

/// Waits until both sides tell of the same `count` Child SAs below one IKE SA.
fn agree(bed: &Bed<'_>, count: usize) -> Result<Pairs> {
    let mut seen = String::new();
    let found = until(&format!("agreement of both sides on {count} Child SAs"), PATIENCE, || {
        let (ours, theirs) = (bed.ours.control.established(), bed.theirs.control.established());
        seen = format!("ours: {ours:?}\ntheirs: {theirs:?}");
        let (ours, theirs) = (ours.ok()?, theirs.ok()?);
        let ([ours], [theirs]) = (&ours[..], &theirs[..]) else { return None };
        let installed = |child: &&crate::control::ChildSa| child.state == "INSTALLED";
        let mine: Pairs =
            ours.children.iter().filter(installed).map(|c| (c.spi_in.clone(), c.spi_out.clone())).collect();
        let mirrored = theirs.children.iter().filter(installed).map(|c| (c.spi_out.clone(), c.spi_in.clone()));
        (mine.len() == count && mine == mirrored.collect()).then_some(mine)
    });
    found.or_else(|cause| fail!("{cause}\n{seen}"))
}
