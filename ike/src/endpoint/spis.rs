//! Names and SPIs that an endpoint gives out.

use cygnet_esp::Spi;
use rand::CryptoRng;

use crate::output::{ChildId, IkeSaId};

/// SPIs up to 255 are reserved by IANA (RFC 4303 §2.1).
const RESERVED: u32 = 255;

/// Gives out names and inbound ESP SPIs.
///
/// SPIs walk a full-period sequence over all 32-bit numbers from a random start with a random stride: no two of
/// 2^32 allocations are equal, and nothing has to be handed back.
#[derive(Debug)]
pub(crate) struct Spis {
    spi: u32,
    stride: u32,
    ike: u64,
    child: u64,
}

impl Spis {
    /// A random sequence.
    pub(crate) fn new(rng: &mut dyn CryptoRng) -> Self {
        // An odd stride reaches every number before it comes back to the first.
        Self { spi: rng.next_u32(), stride: rng.next_u32() | 1, ike: 0, child: 0 }
    }

    /// An inbound ESP SPI.
    pub(crate) fn esp(&mut self) -> Spi {
        loop {
            self.spi = self.spi.wrapping_add(self.stride);
            if self.spi > RESERVED {
                return Spi(self.spi);
            }
        }
    }

    /// A name for an IKE SA.
    pub(crate) fn ike(&mut self) -> IkeSaId {
        self.ike += 1;
        IkeSaId(self.ike)
    }

    /// A name for a Child SA.
    pub(crate) fn child(&mut self) -> ChildId {
        self.child += 1;
        ChildId(self.child)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn spis_are_unique_and_never_reserved() {
        let mut spis = Spis { spi: u32::MAX - 10, stride: 1, ike: 0, child: 0 };
        assert!((0..2000).all(|_| spis.esp().0 > RESERVED));
        let mut spis = Spis::new(&mut StdRng::seed_from_u64(7));
        let seen: HashSet<u32> = (0..10_000).map(|_| spis.esp().0).collect();
        assert_eq!(seen.len(), 10_000);
    }
}
