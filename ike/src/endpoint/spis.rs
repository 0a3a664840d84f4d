//! Names and SPIs that an endpoint gives out.

use cygnet_esp::Spi;
use rand::CryptoRng;

use crate::output::{ChildId, IkeSaId};

/// SPIs up to 255 are reserved by IANA (RFC 4303 §2.1).
const RESERVED: u32 = 255;

/// Gives out names and inbound ESP SPIs.
///
/// An SPI is `quotient * workers + worker`, since a packet goes to worker `SPI % workers`. Quotients walk a full-period
/// sequence over all that there are, from a random start with a random stride, so that any worker's SPI is one step
/// away: no two of `2^32 / workers` allocations are equal, and nothing has to be handed back.
#[derive(Debug)]
pub(crate) struct Spis {
    workers: u32,
    quotient: u64,
    stride: u64,
    /// Whose the next SPI is that may be any worker's.
    worker: u32,
    ike: u64,
    child: u64,
}

impl Spis {
    /// A random sequence for so many workers.
    pub(crate) fn new(rng: &mut dyn CryptoRng, workers: u32) -> Self {
        let workers = workers.max(1);
        let quotients = quotients(workers);
        let (quotient, mut stride) = (rng.next_u64() % quotients, rng.next_u64() % quotients);
        // Such a stride reaches every number before it comes back to the first.
        while has_common_divisor(stride, quotients) {
            stride += 1;
        }
        Self { workers, quotient, stride, worker: rng.next_u32() % workers, ike: 0, child: 0 }
    }

    /// An inbound ESP SPI, of each worker in turn.
    pub(crate) fn esp(&mut self) -> Spi {
        self.worker = (self.worker + 1) % self.workers;
        self.esp_for(self.worker)
    }

    /// An inbound ESP SPI that leads to worker `number`, counted round and round.
    pub(crate) fn esp_for(&mut self, number: u32) -> Spi {
        loop {
            self.quotient = (self.quotient + self.stride) % quotients(self.workers);
            let spi = self.quotient * u64::from(self.workers) + u64::from(number % self.workers);
            if let Some(spi) = u32::try_from(spi).ok().filter(|spi| *spi > RESERVED) {
                return Spi(spi);
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

/// How many SPIs each of so many workers has.
fn quotients(workers: u32) -> u64 {
    (1 << 32) / u64::from(workers)
}

fn has_common_divisor(mut a: u64, mut b: u64) -> bool {
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
        let end = Spis { workers: 1, quotient: (1 << 32) - 10, stride: 1, worker: 0, ike: 0, child: 0 };
        for mut spis in [Spis { workers: 3, quotient: (1 << 32) / 3 - 10, ..end }, end] {
            assert!((0..2000).all(|_| spis.esp().0 > RESERVED));
        }
        for workers in [1, 6, 64] {
            let mut spis = Spis::new(&mut StdRng::seed_from_u64(7), workers);
            let next = |at| if at % 3 == 0 { spis.esp_for(at) } else { spis.esp() };
            assert_eq!((0..10_000).map(next).collect::<HashSet<_>>().len(), 10_000);
        }
    }

    #[test]
    fn strides_reach_every_quotient() {
        for (workers, seed) in (1..=300).flat_map(|workers| (0..8).map(move |seed| (workers, seed))) {
            let spis = Spis::new(&mut StdRng::seed_from_u64(seed), workers);
            assert!(!has_common_divisor(spis.stride, quotients(workers)));
        }
    }

    /// Whatever their number, without a search.
    #[test]
    fn spis_lead_to_the_worker_that_is_asked_for() {
        for (workers, seed) in (1..=300).flat_map(|workers| (0..8).map(move |seed| (workers, seed))) {
            let mut spis = Spis::new(&mut StdRng::seed_from_u64(seed), workers);
            let mut seen = HashSet::new();
            for number in 0..workers + 10 {
                let spi = spis.esp_for(number);
                assert_eq!(spi.0 % workers, number % workers);
                assert!(spi.0 > RESERVED && seen.insert(spi));
            }
            let any: HashSet<u32> = (0..workers).map(|_| spis.esp().0 % workers).collect();
            assert_eq!(any.len(), workers as usize);
        }
    }

    #[test]
    fn the_next_spi_is_one_step_away() {
        // With a stride of 1, a search by remainder among all SPIs would pass others on its way.
        let mut spis = Spis { workers: 60, quotient: 1000, stride: 1, worker: 0, ike: 0, child: 0 };
        assert_eq!([59, 0, 59].map(|number| spis.esp_for(number).0), [60_119, 60_120, 60_239]);
    }
}
