//! Several pairs with the same selectors, each for one resource (RFC 9611): a worker that sends.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::pair::PairId;

/// The place of a pair among several with the same selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Names all of them: the first one, which may be gone.
    pub group: PairId,
    /// Whose it is. `None`: it serves those that have none of their own.
    pub number: Option<u32>,
}

impl Resource {
    /// How well it suits `resource`: best its own, then the one that is nobody's, then another one's. `None` sends for
    /// nobody in particular.
    #[inline]
    pub(crate) fn rank(self, resource: Option<u32>) -> u8 {
        match self.number {
            None => 1,
            own if own == resource => 2,
            Some(_) => 0,
        }
    }
}

/// Place of a pair, and which resources were told that they may ask for another one: each once.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) resource: Option<Resource>,
    /// A bit for each resource.
    told: AtomicU64,
}

impl Place {
    pub(crate) fn new(resource: Option<Resource>) -> Self {
        Self { resource, told: AtomicU64::new(0) }
    }

    /// The bit of `resource`, if it could have a pair of its own beside this one.
    fn bit(&self, resource: u32) -> Option<u64> {
        let other = self.resource.is_some_and(|own| own.number != Some(resource));
        1_u64.checked_shl(resource).filter(|_| other)
    }

    /// Whether `resource` is to ask for one of its own, and was not told so.
    #[inline]
    pub(crate) fn tell(&self, resource: u32) -> bool {
        let Some(bit) = self.bit(resource) else { return false };
        self.told.load(Ordering::Relaxed) & bit == 0 && self.told.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    pub(crate) fn forget(&self, resource: u32) {
        if let Some(bit) = self.bit(resource) {
            self.told.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// If this is one of `group`, `resource` may ask again, or all.
    pub(crate) fn reopen(&self, group: PairId, resource: Option<u32>) {
        if self.resource.is_some_and(|own| own.group == group) {
            match resource {
                Some(resource) => self.forget(resource),
                None => self.told.store(0, Ordering::Relaxed),
            }
        }
    }

    /// A pair is gone: if it was beside this one, its resource may ask again.
    pub(crate) fn left_by(&self, gone: &Self) {
        if let (Some(own), Some(Resource { group, number: Some(number) })) = (self.resource, gone.resource)
            && own.group == group
        {
            self.forget(number);
        }
    }
}
