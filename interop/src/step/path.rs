//! Path MTU: the link in the middle gets narrower while traffic flows (RFC 4301 §8.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::traffic::Transfer;
use crate::bed::Bed;
use crate::capture::{Capture, seen};
use crate::failure::{Context, Result, fail};
use crate::process::until;

/// Octets of a transfer; the path gets narrower when an eighth has passed.
const SIZE: usize = 20_000_000;
/// Longest pause: what a TCP needs to learn, and to send again what was lost; a black hole never ends.
const PAUSE: f64 = 3.0;

/// For each direction: the link between the routers goes from 1500 octets to `mtu` in the midst of a transfer, which
/// ends well; the capture between the routers shows no pause that would betray a black hole.
pub(super) fn narrow(bed: &Bed<'_>, mtu: u16) -> Result<()> {
    for transfer in Transfer::both(bed, SIZE) {
        bed.between.narrow(1500)?;
        let file = bed.ours.folder.join(format!("middle-{mtu}-{}.pcap", transfer.name()));
        let capture = Capture::sizes(bed.between.near()?, "middle", &file)?;
        let running = transfer.start(bed)?;
        until("the first eighth of the transfer", Duration::from_secs(30), || {
            let passed: usize = seen(capture.file()).ok()?.iter().map(|(_, octets)| octets).sum();
            (passed > SIZE / 8).then_some(())
        })?;
        bed.between.narrow(mtu)?;
        let changed = SystemTime::now().duration_since(UNIX_EPOCH).context("clock")?.as_secs_f64();
        running.finish().context(transfer.name())?;
        let mut after = seen(&capture.finish()?)?;
        after.retain(|(time, _)| *time > changed);
        let passed: usize = after.iter().map(|(_, octets)| octets).sum();
        if passed < SIZE / 4 {
            fail!("only {passed} octets after the path was narrowed: the {} was over too soon", transfer.name());
        }
        let times: Vec<f64> = std::iter::once(changed).chain(after.iter().map(|(time, _)| *time)).collect();
        let pause = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        if pause > PAUSE {
            fail!("the {} paused for {pause:.1} s when the path was narrowed to {mtu}", transfer.name());
        }
    }
    Ok(())
}
