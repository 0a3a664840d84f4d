//! Which IKE SA wants the clock next.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::output::IkeSaId;

/// The next deadline of every IKE SA, in order.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    order: BTreeSet<(Instant, IkeSaId)>,
    current: HashMap<IkeSaId, Instant>,
}

impl Schedule {
    /// Sets, moves or (with `None`) removes the deadline of `sa`.
    pub(crate) fn set(&mut self, sa: IkeSaId, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.current.insert(sa, at),
            None => self.current.remove(&sa),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, sa));
        }
        if let Some(at) = at {
            self.order.insert((at, sa));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The SAs whose deadline has come, earliest first.
    pub(crate) fn due(&self, now: Instant) -> Vec<IkeSaId> {
        self.order.iter().take_while(|(at, _)| *at <= now).map(|(_, sa)| *sa).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_move_and_go() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut schedule = Schedule::default();
        schedule.set(IkeSaId(1), Some(at(3)));
        schedule.set(IkeSaId(2), Some(at(2)));
        assert_eq!(schedule.next(), Some(at(2)));
        schedule.set(IkeSaId(2), Some(at(4)));
        assert_eq!(schedule.due(at(4)), [IkeSaId(1), IkeSaId(2)]);
        schedule.set(IkeSaId(1), None);
        assert_eq!(schedule.due(at(3)), []);
        schedule.set(IkeSaId(2), None);
        assert_eq!((schedule.next(), schedule.order.len()), (None, 0));
    }
}
