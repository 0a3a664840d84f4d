//! Guests are few and boot slowly: they stay up and go from case to case.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Guest, prepare_root, unpack};
use crate::engine::Engine;
use crate::failure::{Context, Result};

/// Guests alive at once.
const LIMIT: usize = 2;

/// The guests of a run.
#[derive(Debug)]
pub(crate) struct Pool {
    root: PathBuf,
    shared: PathBuf,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Guest>,
    alive: usize,
    booted: usize,
}

impl Pool {
    /// Guests whose root file system is that of `image`. `scratch`, the folder of the run, is shared with them.
    pub(crate) fn new(engine: &Engine, image: &str, scratch: &Path) -> Result<Arc<Self>> {
        let (root, tar) = (scratch.join("root"), scratch.join("root.tar"));
        engine.export(image, &tar)?;
        unpack(&tar, &root)?;
        fs::remove_file(&tar).context(tar.display())?;
        prepare_root(&root, scratch)?;
        let (state, returned) = (Mutex::default(), Condvar::new());
        Ok(Arc::new(Self { root, shared: scratch.to_owned(), state, returned }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle guest, or a new one; waits while there are as many as there may be.
    pub(crate) fn lease(self: &Arc<Self>) -> Result<Lease> {
        let busy = |state: &mut State| state.idle.is_empty() && state.alive >= LIMIT;
        let mut state = self.returned.wait_while(self.state(), busy).unwrap_or_else(PoisonError::into_inner);
        let idle = state.idle.pop();
        let number = state.booted;
        if idle.is_none() {
            state.alive += 1;
            state.booted += 1;
        }
        drop(state);
        let guest = match idle {
            Some(guest) => guest,
            None => Guest::boot(number, &self.root, &self.shared).inspect_err(|_| self.lost())?,
        };
        Ok(Lease { guest: Some(guest), pool: self.clone() })
    }

    fn lost(&self) {
        self.state().alive -= 1;
        self.returned.notify_one();
    }
}

/// A guest in use; it goes back to its pool when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    // None only while being dropped.
    guest: Option<Guest>,
    pool: Arc<Pool>,
}

impl Deref for Lease {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        self.guest.as_ref().expect("a guest until dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut guest) = self.guest.take() else { return };
        // One that can't be cleared is not used again.
        match guest.reset() {
            Ok(()) => {
                self.pool.state().idle.push(guest);
                self.pool.returned.notify_one();
            }
            Err(cause) => {
                eprintln!("a guest is given up: {cause}");
                drop(guest);
                self.pool.lost();
            }
        }
    }
}
