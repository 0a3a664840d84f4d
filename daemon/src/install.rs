//! From what IKE negotiated to entries of the SAD: the one place where the two meet.

use std::time::Instant;

use cygnet_esp::{Encr, Inbound, KeyLength, Outbound};
use cygnet_ike::{Activation, ChildId, ChildInstall};
use cygnet_sad::{InstallError, Lifetime, Limits, NewPair, Origin, OriginalAddresses, PairId, Resource, Sad};
use cygnet_spd::Selector;

use crate::config::{Half, ManualSa};

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
        resource: child.resource.map(|of| Resource { group: pair_id(of.group), number: of.number }),
        replaces: child.replaces.map(pair_id),
        activation: match child.activation {
            Activation::Now => cygnet_sad::Activation::Now,
            Activation::OnUse => cygnet_sad::Activation::OnUse,
        },
    };
    sad.install(now, pair).map(drop).map_err(Refused::Taken)
}

/// Names of manual pairs: IKE counts its children from 1 and never comes here.
const MANUAL: u64 = 1 << 63;

/// Whether a pair was configured with its keys, so that IKE knows nothing of it.
pub fn is_manual(pair: PairId) -> bool {
    pair.0 & MANUAL != 0
}

/// Installs the manual SA number `n`. There is no protection against replay: after a restart both sides count from 1
/// again (RFC 4303 §3.4.3).
///
/// # Errors
/// See [`Refused`]. The SAD is unchanged then.
pub fn manual(sad: &Sad, now: Instant, n: u64, sa: &ManualSa) -> Result<(), Refused> {
    let encr = sa.algorithm.0;
    let (encr_in, integ_in) = keys(&sa.inbound, encr)?;
    let (encr_out, integ_out) = keys(&sa.outbound, encr)?;
    let pair = NewPair {
        id: PairId(MANUAL | n),
        policy: sa.policy,
        selector: sa.selector.clone(),
        mode: sa.mode,
        headers: sa.headers,
        original: None,
        origin: Origin::Manual,
        inbound: Inbound::without_anti_replay(sa.inbound.spi, encr, encr_in, integ_in)?,
        outbound: Outbound::new(sa.outbound.spi, encr, encr_out, integ_out, false)?,
        path: cygnet_sad::Path { local: sa.local, remote: sa.remote, udp_encapsulation: sa.encap },
        lifetime: Lifetime::default(),
        resource: None,
        replaces: None,
        activation: cygnet_sad::Activation::Now,
    };
    sad.install(now, pair).map(drop).map_err(Refused::Taken)
}

/// Those of the cipher and of the MAC.
fn keys<'a>(half: &'a Half, encr: &Encr) -> Result<(&'a [u8], &'a [u8]), Refused> {
    half.keys.expose().split_at_checked(encr.encryption_len()).ok_or(Refused::Keys)
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
