//! What a running gateway knows at one moment, joined for people: policies with the SAs that serve them, and why none
//! does where none does.
//!
//! | file | answers |
//! |---|---|
//! | `explain` | what happens to a packet, and to its answer |
//! | `readiness` | whether a policy can be switched to `require` |

pub mod explain;
pub mod readiness;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cygnet_ike::status::{ChildStatus, IkeState, IkeStatus};
use cygnet_sad::PairStatus;
use cygnet_spd::{Action, Policies, Policy, PolicyId};

use crate::config::Config;
use crate::handle::{Failed, Seen, Status};
use crate::install::child_id;

/// The gateway at one moment.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// What it was told.
    pub config: Arc<Config>,
    /// IKE SAs and counters.
    pub status: Status,
    /// The policies in force.
    pub policies: Arc<Policies>,
    /// The SAs in force, in the order of their installation.
    pub pairs: Vec<PairStatus>,
    /// The last failure of each child, or of a connection as a whole, that has no SA since.
    pub failures: HashMap<(String, Option<String>), Failed>,
    /// What arrived in the clear where a policy protects, by policy and peer; `None` if nobody looks.
    pub clear: Option<Vec<Seen>>,
}

/// How it stands with the SA of a policy that has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It is being negotiated for so long.
    Negotiating(Option<Duration>),
    /// The last negotiation failed.
    Failed(Failed),
    /// Nobody asked for it yet.
    NotAsked,
}

impl Inspection {
    /// The policy of this id.
    pub fn policy(&self, id: PolicyId) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.action == Action::Protect(id))
    }

    /// The SAs that serve a policy, oldest first.
    pub fn pairs_of(&self, policy: &Policy) -> impl Iterator<Item = &PairStatus> {
        self.pairs.iter().filter(|status| policy.action == Action::Protect(status.pair.policy()))
    }

    /// What IKE says of a pair; nothing of a manual one.
    pub fn negotiated(&self, status: &PairStatus) -> Option<(&IkeStatus, &ChildStatus)> {
        let id = child_id(status.pair.id());
        self.status.ike_sas.iter().find_map(|ike| Some((ike, ike.children.iter().find(|child| child.id == id)?)))
    }

    /// Why a policy has no SA with `remote`.
    pub fn missing(&self, policy: &Policy, remote: std::net::IpAddr) -> Missing {
        let Some((connection, child)) = policy.name.split_once('/') else { return Missing::NotAsked };
        let of = |ike: &&IkeStatus| ike.connection.as_ref().is_some_and(|of| of.name == connection);
        // In transport mode every peer has an IKE SA of its own.
        let each = policy.terms.mode == cygnet_spd::Mode::Transport;
        let with = |ike: &&IkeStatus| !each || ike.path.remote.ip() == remote;
        let busy = |ike: &&IkeStatus| ike.state == IkeState::Connecting || ike.active_task.is_some();
        if let Some(ike) = self.status.ike_sas.iter().filter(of).filter(with).find(busy) {
            return Missing::Negotiating(ike.established.map(|at| at.elapsed()));
        }
        let key = |child: Option<&str>| (connection.to_owned(), child.map(str::to_owned));
        let failure = self.failures.get(&key(Some(child))).or_else(|| self.failures.get(&key(None)));
        let fits = |failure: &&Failed| !each || failure.remote == remote || failure.remote.is_unspecified();
        failure.filter(fits).cloned().map_or(Missing::NotAsked, Missing::Failed)
    }

    /// Where a policy stands: `file.toml line 7`.
    pub fn place(&self, policy: &Policy) -> Option<String> {
        let line = self.config.lines.get(&policy.name)?;
        let file = self.config.file.as_ref().and_then(|file| file.file_name());
        let file = file.map_or_else(String::new, |file| format!("{} ", file.to_string_lossy()));
        Some(format!("{file}line {line}"))
    }
}

/// A time span as people say it: `12s`, `5m`, `3h`, `2d`.
pub fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

/// Since `at`, as people say it.
pub fn since(at: Instant) -> String {
    span(at.elapsed())
}
