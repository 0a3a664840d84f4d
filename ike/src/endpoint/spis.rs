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
    /// A random sequence, whose remainders by `workers` walk through all that there are.
    pub(crate) fn new(rng: &mut dyn CryptoRng, workers: u32) -> Self {
        let (spi, mut stride) = (rng.next_u32(), rng.next_u32() | 1);
        // An odd stride reaches every number before it comes back to the first.
        while has_common_divisor(stride, workers.max(1)) {
            stride = stride.wrapping_add(2);
        }
        Self { spi, stride, ike: 0, child: 0 }
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

    /// An inbound ESP SPI with this remainder by `workers`, below it.
    pub(crate) fn esp_for(&mut self, remainder: u32, workers: u32) -> Spi {
        loop {
            let spi = self.esp();
            if spi.0 % workers.max(1) == remainder {
                return spi;
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

fn has_common_divisor(mut a: u32, mut b: u32) -> bool {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a != 1
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
        let mut spis = Spis::new(&mut StdRng::seed_from_u64(7), 1);
        let seen: HashSet<u32> = (0..10_000).map(|_| spis.esp().0).collect();
        assert_eq!(seen.len(), 10_000);
    }

    #[test]
    fn spis_lead_to_the_worker_that_is_asked_for() {
        for (workers, seed) in (1..=64).flat_map(|workers| (0..8).map(move |seed| (workers, seed))) {
            let mut spis = Spis::new(&mut StdRng::seed_from_u64(seed), workers);
            let mut seen = HashSet::new();
            for worker in 0..workers {
                let spi = spis.esp_for(worker, workers);
                assert_eq!(spi.0 % workers, worker);
                assert!(spi.0 > RESERVED && seen.insert(spi));
            }
        }
    }
}
