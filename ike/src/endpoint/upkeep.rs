//! Keeps `Start` children up: at start, and again whenever one is down, with growing waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::CryptoRng;

use crate::config::{Child, Config, Connection, StartAction};
use crate::sa::timers::jittered;

/// The wanted state of every `Start` child.
#[derive(Debug, Default)]
pub(crate) struct Upkeep(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    child: Arc<Child>,
    /// Taken back by a command that brings the child down, given again by one that brings it up.
    wanted: bool,
    /// Attempts since it was last up.
    attempts: u32,
    due: Option<Instant>,
}

impl Entry {
    fn new(connection: &Arc<Connection>, child: &Arc<Child>, now: Instant) -> Self {
        Self { connection: connection.clone(), child: child.clone(), wanted: true, attempts: 0, due: Some(now) }
    }
}

/// How a child stands, as the endpoint sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It carries traffic.
    Up,
    /// It is being negotiated.
    Coming,
    /// Neither.
    Down,
}

impl Upkeep {
    /// Every `Start` child, due at once.
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        let entries = config.connections.iter().flat_map(|connection| {
            let children = connection.children.iter().filter(|child| child.start == StartAction::Start);
            children.map(|child| Entry::new(connection, child, now))
        });
        Self(entries.collect())
    }

    /// The children of another configuration: those that were there before are as wanted and as due as before.
    pub(crate) fn reconfigure(&mut self, config: &Config, now: Instant) {
        let mut before = std::mem::replace(self, Self::new(config, now)).0;
        for entry in &mut self.0 {
            let same = |old: &Entry| old.connection.name == entry.connection.name && old.child.name == entry.child.name;
            if let Some(at) = before.iter().position(same) {
                let Entry { wanted, attempts, due, .. } = before.swap_remove(at);
                *entry =
                    Entry { wanted, attempts, due, connection: entry.connection.clone(), child: entry.child.clone() };
            }
        }
    }

    /// Something happened to `connection`: schedules what is down, forgets attempts for what is up.
    pub(crate) fn review(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        connection: &Connection,
        standing: impl Fn(&Child) -> Standing,
    ) {
        for entry in self.0.iter_mut().filter(|e| e.wanted && e.connection.name == connection.name) {
            match standing(&entry.child) {
                Standing::Up => (entry.attempts, entry.due) = (0, None),
                Standing::Coming => entry.due = None,
                Standing::Down if entry.due.is_none() => {
                    entry.due = Some(now + backoff(rng, entry.connection.retry, entry.attempts));
                    entry.attempts += 1;
                }
                Standing::Down => {}
            }
        }
    }

    /// A command decides whether children are wanted: one, or all of the connection.
    pub(crate) fn want(&mut self, connection: &str, child: Option<&str>, wanted: bool) {
        for entry in self.0.iter_mut().filter(|e| e.connection.name == connection) {
            if child.is_none_or(|child| child == entry.child.name) {
                entry.wanted = wanted;
                entry.due = None;
                entry.attempts = 0;
            }
        }
    }

    /// Nothing is wanted any more.
    pub(crate) fn stop(&mut self) {
        self.0.clear();
    }

    /// When [`Self::due`] wants to be called.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().filter_map(|entry| entry.due).min()
    }

    /// Takes the children whose time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(Arc<Connection>, Arc<Child>)> {
        let due = self.0.iter_mut().filter(|entry| entry.due.is_some_and(|at| at <= now));
        due.map(|entry| {
            entry.due = None;
            (entry.connection.clone(), entry.child.clone())
        })
        .collect()
    }
}

/// The first wait doubled for each attempt, up to the longest, less a random quarter: peers that lost the same
/// gateway do not come back in one burst.
fn backoff(rng: &mut dyn CryptoRng, (first, longest): (Duration, Duration), attempts: u32) -> Duration {
    let wait = first.saturating_mul(1 << attempts.min(16)).min(longest.max(first));
    jittered(rng, wait, wait / 4)
}
