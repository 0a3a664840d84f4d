//! What the peer's kernel holds: an independent witness of keys, SPIs and flags.

use std::fs;
use std::time::Duration;

use super::tunnel::agree;
use crate::bed::Bed;
use crate::failure::{Context, Result, fail};
use crate::process;
use crate::scenario::{Esn, Esp};
use crate::xfrm::{logged, states};

/// The pair of SAs that both sides tell of is in the kernel: with the keys of our key log, in the mode, with the
/// sequence numbers and with the encapsulation that the case is about.
pub(super) fn state(bed: &Bed<'_>) -> Result<()> {
    let agreed = agree(bed, Duration::from_secs(5))?;
    let text = process::run(&mut bed.theirs.command(&["ip", "xfrm", "state"]), Duration::from_secs(10))?;
    let table = fs::read_to_string(bed.ours.folder.join("keys/esp_sa")).context("key log")?;
    let (held, case) = (states(&text), &bed.case);
    for spi in [&agreed.child.0, &agreed.child.1] {
        let spi = format!("0x{spi:0>8}");
        let sa = held.iter().find(|state| state.spi == spi).context(format!("{spi} is not in the kernel:\n{text}"))?;
        let ours = logged(&table, &spi)?;
        if sa.key != ours {
            fail!("the key of {spi} is {} in the kernel and {ours} in the key log", sa.key);
        }
        let wanted = (case.mode.label(), case.esn == Esn::On, case.esp == Esp::Udp);
        let found = (sa.mode.as_str(), sa.esn, sa.udp);
        if found != wanted {
            fail!("mode, ESN and encapsulation of {spi}: wanted {wanted:?}, found {found:?}");
        }
    }
    Ok(())
}
