//! Which parts of a packet are there.

use super::{FRAGMENTS, Loss};

/// Parts without overlap, in order.
#[derive(Debug)]
pub(super) struct Pieces {
    /// First octet, and the one behind the last.
    parts: [(u16, u16); FRAGMENTS],
    count: usize,
    /// Octets in all parts.
    octets: usize,
    /// Where the packet ends, once its last fragment is here.
    end: Option<usize>,
}

/// Whether a part is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    New,
    /// The same part was there.
    Before,
}

impl Default for Pieces {
    fn default() -> Self {
        Self { parts: [(0, 0); FRAGMENTS], count: 0, octets: 0, end: None }
    }
}

impl Pieces {
    /// The octets from `start` to before `end`, at least one; `more` is whether others follow.
    pub(super) fn add(&mut self, start: usize, end: usize, more: bool) -> Result<Added, Loss> {
        let part = (u16::try_from(start), u16::try_from(end));
        let (Ok(first), Ok(behind)) = part else { return Err(Loss::TooLarge) };
        let parts = &self.parts[..self.count];
        let at = parts.partition_point(|part| part.0 < first);
        let last = !more;
        if parts.get(at) == Some(&(first, behind)) && last == (self.end == Some(end)) {
            return Ok(Added::Before);
        }
        let overlaps = parts.get(at).is_some_and(|next| next.0 < behind)
            || at.checked_sub(1).is_some_and(|before| parts[before].1 > first);
        // Nothing is behind the end, and there is one end.
        let beyond = self.end.is_some_and(|known| end > known || last)
            || last && parts.last().is_some_and(|part| usize::from(part.1) > end);
        if overlaps || beyond {
            return Err(Loss::Overlapping);
        }
        if self.count == FRAGMENTS {
            return Err(Loss::TooLarge);
        }
        self.parts.copy_within(at..self.count, at + 1);
        self.parts[at] = (first, behind);
        self.count += 1;
        self.octets += end - start;
        if last {
            self.end = Some(end);
        }
        Ok(Added::New)
    }

    /// The packet's length, once nothing is missing: parts that do not overlap and fill it leave no hole.
    pub(super) fn whole(&self) -> Option<usize> {
        self.end.filter(|end| *end == self.octets)
    }
}
