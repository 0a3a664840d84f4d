//! From what IKE negotiated to entries of the SAD: the one place where the two meet.

use std::time::Instant;

use cygnet_esp::{Inbound, KeyLength, Outbound};
use cygnet_ike::{Activation, ChildId, ChildInstall};
use cygnet_sad::{InstallError, Lifetime, Limits, NewPair, Origin, OriginalAddresses, PairId, Sad};
use cygnet_spd::Selector;

/// Why a negotiated pair is not in the SAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The keys do not fit the cipher.
    #[error("keys of the wrong length")]
    Keys,
    /// The name or the inbound SPI is taken.
    #[error("name or SPI taken: {0:?}")]
    Taken(InstallError),
}

impl From<KeyLength> for Refused {
    fn from(_: KeyLength) -> Self {
        Self::Keys
    }
}

/// The SAD's name for a child.
pub fn pair_id(child: ChildId) -> PairId {
    PairId(child.0)
}

/// The endpoint's name for a pair.
pub fn child_id(pair: PairId) -> ChildId {
    ChildId(pair.0)
}

/// Installs both halves of `child`. Limits by time are not passed on: the endpoint keeps those itself.
///
/// # Errors
/// See [`Refused`]. The SAD is unchanged then.
pub fn install(sad: &Sad, now: Instant, child: &ChildInstall) -> Result<(), Refused> {
    let ChildInstall { encr, esn, inbound, outbound, .. } = child;
    let lifetime = &child.child.lifetime;
    let window = child.child.replay_window;
    let pair = NewPair {
        id: pair_id(child.id),
        policy: child.child.policy,
        selector: Selector { local: child.local_ts.clone(), remote: child.remote_ts.clone() },
        mode: child.mode,
        headers: child.child.headers,
        original: child.original.map(|(local, remote)| OriginalAddresses { local, remote }),
        origin: Origin::Negotiated,
        inbound: Inbound::new(inbound.spi, encr, inbound.encr_key.expose(), inbound.integ_key.expose(), *esn, window)?,
        outbound: Outbound::new(outbound.spi, encr, outbound.encr_key.expose(), outbound.integ_key.expose(), *esn)?,
        path: sad_path(child.path, child.udp_encapsulation),
        lifetime: Lifetime {
            soft: Limits { time: None, octets: lifetime.rekey_bytes, packets: lifetime.rekey_packets },
            hard: Limits { time: None, octets: lifetime.life_bytes, packets: lifetime.life_packets },
        },
        replaces: child.replaces.map(pair_id),
        activation: match child.activation {
            Activation::Now => cygnet_sad::Activation::Now,
            Activation::OnUse => cygnet_sad::Activation::OnUse,
        },
    };
    sad.install(now, pair).map(drop).map_err(Refused::Taken)
}

/// The peer's new outer address (RFC 7296 §2.23).
pub fn relocate(sad: &Sad, child: ChildId, path: cygnet_ike::Path) {
    let id = pair_id(child);
    sad.edit(|edit| {
        if let Some(old) = edit.path(id) {
            edit.update_path(id, sad_path(path, old.udp_encapsulation));
        }
    });
}

fn sad_path(path: cygnet_ike::Path, udp_encapsulation: bool) -> cygnet_sad::Path {
    cygnet_sad::Path { local: path.local, remote: path.remote, udp_encapsulation }
}
