//! Which core a thread is bound to.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// The cores that threads are spread over.
#[derive(Debug)]
pub(super) struct Cores(Vec<usize>);

impl Cores {
    /// Those this process may use.
    ///
    /// # Errors
    /// When the system does not say.
    pub(super) fn ours() -> io::Result<Self> {
        let set = sched_getaffinity(SELF)?;
        Ok(Self((0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()))
    }

    /// None in particular.
    pub(super) fn any() -> Self {
        Self(Vec::new())
    }

    /// That of the `n`th thread, if it has one. More threads than cores share them.
    pub(super) fn pick(&self, n: usize) -> Option<usize> {
        self.0.get(n.checked_rem(self.0.len())?).copied()
    }
}

/// Binds the calling thread to `core`.
///
/// # Errors
/// When there is no such core, or it is not ours to use.
pub(super) fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(SELF, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_spread_over_the_cores_there_are() {
        let cores = Cores(vec![3, 5]);
        assert_eq!([0, 1, 2, 3].map(|n| cores.pick(n)), [Some(3), Some(5), Some(3), Some(5)]);
        assert_eq!(Cores::any().pick(1), None);
    }

    #[test]
    fn a_thread_is_bound() {
        let core = *Cores::ours().expect("the system says").0.last().expect("this test runs somewhere");
        std::thread::spawn(move || {
            pin(core).expect("one of ours");
            assert_eq!(Cores::ours().expect("the system says").0, [core]);
        })
        .join()
        .expect("bound");
    }
}
