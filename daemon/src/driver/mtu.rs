//! From the MTU of a path to that of the SAs on it (RFC 4301 §8.2).

use cygnet_sad::{Pair, PairId};

use super::Driver;

impl Driver {
    /// A pair was installed, or moved: keeps its inner MTU that of its path.
    pub(super) fn watch_path(&mut self, pair: PairId) {
        let Some(status) = self.path.sad.status(pair) else { return };
        let path = status.pair.path();
        let outer = (path.local.ip(), path.remote.ip());
        let mtus = self.path.net.path_mtus();
        mtus.watch(outer);
        // After that, so that what is known of a path that stays is kept.
        if let Some(old) = self.watched.insert(pair, outer) {
            mtus.forget(old);
        }
        set_inner_mtu(&status.pair, mtus.get(outer));
    }

    /// A pair is gone.
    pub(super) fn forget_path(&mut self, pair: PairId) {
        if let Some(outer) = self.watched.remove(&pair) {
            self.path.net.path_mtus().forget(outer);
        }
    }

    /// Paths have other MTUs than before.
    pub(super) fn path_mtus_changed(&self) {
        for (outer, mtu) in self.path.net.path_mtus().take_changes() {
            let (local, remote) = outer;
            tracing::debug!("path MTU from {local} to {remote} is {mtu}");
            for (&pair, _) in self.watched.iter().filter(|(_, path)| **path == outer) {
                if let Some(status) = self.path.sad.status(pair) {
                    set_inner_mtu(&status.pair, Some(mtu));
                }
            }
        }
    }
}

fn set_inner_mtu(pair: &Pair, outer: Option<u16>) {
    pair.set_inner_mtu(outer.map(|mtu| pair.overhead().inner_mtu(mtu.into())));
}
