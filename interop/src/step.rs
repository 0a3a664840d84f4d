//! What the steps of a scenario do.

mod failures;
mod kernel;
mod lifecycle;
mod mutation;
mod path;
mod rekey;
mod several;
mod tools;
mod traffic;
mod tunnel;

use crate::bed::Bed;
use crate::failure::Result;
use crate::scenario::Step;

/// Does one step.
pub(crate) fn perform(bed: &mut Bed<'_>, step: &Step) -> Result<()> {
    match step {
        Step::Up => tunnel::up(bed, bed.case.initiator),
        Step::Ping => traffic::ping(bed),
        Step::Transfer => traffic::transfer(bed),
        Step::Narrow(mtu) => path::narrow(bed, *mtu),
        Step::Datagrams => traffic::datagrams(bed),
        Step::NoPlaintext => traffic::no_plaintext(bed),
        Step::Decrypt => traffic::decrypt(bed),
        Step::Refused(told) => failures::refused(bed, told),
        Step::Told(told) => failures::told(bed, told),
        Step::Correct => failures::correct(bed),
        Step::Rekey => rekey::rekey(bed),
        Step::Several(count) => several::several(bed, *count),
        Step::KillPeer(seconds) => lifecycle::kill_peer(bed, *seconds),
        Step::PeerReturns(seconds) => lifecycle::peer_returns(bed, *seconds),
        Step::Restart(who) => lifecycle::restart(bed, *who),
        Step::CleanStop => lifecycle::clean_stop(bed),
        Step::KernelState => kernel::state(bed),
        Step::Swanctl => tools::swanctl(bed),
        Step::Mutate(messages) => mutation::mutate(bed, *messages),
    }?;
    bed.ours.must_run()
}
