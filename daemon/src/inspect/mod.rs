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
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cygnet_ike::status::{ChildStatus, IkeState, IkeStatus};
use cygnet_sad::PairStatus;
use cygnet_spd::{Action, Mode, Policies, Policy, PolicyId, SaState};

use crate::config::Config;
use crate::handle::{Failed, Failures, Handle, Status, Stopped};
use crate::install::child_id;
use crate::net::filter::{Counts, NftError, Watch};
use crate::workers::{Cleared, Shunt};

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
    pub failures: Failures,
    /// SAs that are wanted and not there.
    pub shunts: Vec<Shunt>,
    /// What was sent in the clear for want of an SA.
    pub cleared: HashMap<PolicyId, Cleared>,
    /// What arrived in the clear; `None` if nobody looks.
    pub filtered: Option<Filtered>,
}

/// What the filter saw since the start.
#[derive(Debug, Clone, Default)]
pub struct Filtered {
    /// Packets let in and dropped, by name of policy.
    pub packets: HashMap<String, Counts>,
    /// Peers that sent in the clear where a policy protects if it can.
    pub seen: Vec<Seen>,
}

/// What a peer sent in the clear where a policy protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Name of the policy.
    pub policy: String,
    /// From whom; `None` counts all peers of the policy.
    pub peer: Option<IpAddr>,
    /// How many packets.
    pub packets: u64,
    /// How many octets.
    pub octets: u64,
    /// Time since the last one; `None` if there was none, or it was too long ago to be known.
    pub last: Option<Duration>,
}

impl Handle {
    /// Policies and SAs of this moment, with all that is known of them.
    ///
    /// # Errors
    /// [`Stopped`] if the gateway is gone.
    pub async fn inspect(&self) -> Result<Inspection, Stopped> {
        let status = self.status().await?;
        let filtered = match &self.watch {
            None => None,
            Some(watch) => {
                filtered(watch).await.inspect_err(|error| tracing::warn!("the filter can't be read: {error}")).ok()
            }
        };
        let (config, path, now) = (self.config(), self.path.upgrade(), Instant::now());
        let failures = self.failures().clone();
        let Some(path) = path else {
            let policies = Arc::new(config.policies.clone());
            let (pairs, shunts, cleared) = Default::default();
            return Ok(Inspection { config, status, policies, pairs, failures, shunts, cleared, filtered });
        };
        let mut pairs = path.sad.statuses();
        pairs.sort_by_key(|status| status.pair.order());
        Ok(Inspection {
            config,
            status,
            policies: path.policies.load_full(),
            pairs,
            failures,
            shunts: path.shunts.entries(now),
            cleared: path.cleared.snapshot(now).into_iter().collect(),
            filtered,
        })
    }
}

async fn filtered(watch: &Watch) -> Result<Filtered, NftError> {
    let packets = watch.counters().await?.into_iter().map(|of| (of.policy, of.packets)).collect();
    let now = SystemTime::now();
    let seen = watch.seen().await?.into_iter().map(|peer| Seen {
        policy: peer.policy,
        peer: Some(peer.peer),
        packets: peer.packets,
        octets: peer.octets,
        // To the second, by a clock that may be set back.
        last: Some(now.duration_since(peer.last_seen).unwrap_or_default()),
    });
    Ok(Filtered { packets, seen: seen.collect() })
}

/// How it stands with the SA of a policy that has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It is being negotiated.
    Negotiating,
    /// The last negotiation failed, and the next attempt is not due for so long, if anybody is waiting for it.
    Failed(Option<Failed>, Option<Duration>),
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
    pub fn missing(&self, policy: &Policy, remote: IpAddr) -> Missing {
        let Some((connection, child)) = policy.name.split_once('/') else { return Missing::NotAsked };
        let of = |ike: &&IkeStatus| ike.connection.as_ref().is_some_and(|of| of.name == connection);
        // In transport mode every peer has an IKE SA of its own.
        let each = policy.terms.mode == Mode::Transport;
        let with = |ike: &&IkeStatus| !each || ike.path.remote.ip() == remote;
        let key = |child: Option<&str>| (connection.to_owned(), child.map(str::to_owned));
        let failure = self.failures.get(&key(Some(child))).or_else(|| self.failures.get(&key(None)));
        let fits = |failure: &&Failed| !each || failure.remote == remote || failure.remote.is_unspecified();
        let failure = failure.filter(fits).cloned();
        let shunt = self.shunts.iter().find(|shunt| {
            policy.action == Action::Protect(shunt.key.policy) && shunt.key.remote.is_none_or(|peer| peer == remote)
        });
        let busy = |ike: &IkeStatus| ike.state == IkeState::Connecting || ike.active_task.is_some();
        match shunt {
            Some(Shunt { state: SaState::Failed, until, .. }) => {
                let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
                Missing::Failed(failure, wait)
            }
            Some(_) => Missing::Negotiating,
            None if self.status.ike_sas.iter().filter(of).filter(with).any(busy) => Missing::Negotiating,
            None if failure.is_some() => Missing::Failed(failure, None),
            None => Missing::NotAsked,
        }
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
