//! Traffic that arrives in the clear never enters the TUN device: the kernel delivers it; nor does what leaves for
//! where no PROTECT policy steers. So the policies are enforced on both there, by a table of nftables: see `ruleset`.
//!
//! The table is replaced as a whole, in one transaction. What it counted is kept here over replacements. It goes with
//! a clean stop; a gateway that was killed leaves it, so that what must be protected stays refused, and the next start
//! replaces it. What somebody else takes out of it is put back.

mod changes;
mod icmp;
mod nft;
mod refusals;
mod ruleset;

use std::collections::HashMap;
use std::future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cygnet_spd::{Action, Direction, Policies, PolicyId};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep_until;

use self::changes::Changes;
pub use self::nft::NftError;
use self::refusals::Listener;
pub use self::refusals::Refusal;
pub use self::ruleset::Ruleset;
use self::ruleset::{Group, MEMORY_DAYS, Verdict, counter, peers, table};
use crate::config::Gateway;

/// Seconds after which a silent peer is forgotten.
const MEMORY: u64 = MEMORY_DAYS as u64 * 86_400;

/// Between attempts to put back what somebody else takes away: two who disagree shall not keep the host busy.
const AGAIN: Duration = Duration::from_secs(1);

/// Clear packets of one policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyClear {
    /// Its name.
    pub policy: String,
    /// Its number, if it protects.
    pub id: Option<PolicyId>,
    /// How many packets.
    pub packets: Counts,
}

/// Packets of one policy in the clear, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Let in: BYPASS, or PROTECT with level `use`.
    pub accepted: u64,
    /// Arrived, and dropped: PROTECT with level `require`, or DISCARD.
    pub dropped_in: u64,
    /// Was to leave, and dropped: DISCARD. What the TUN device was handed is not counted here.
    pub dropped_out: u64,
}

/// A peer that a policy protects if it can, and that sent in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerClear {
    /// Name of the policy.
    pub policy: String,
    /// Its address.
    pub peer: IpAddr,
    /// How many packets.
    pub packets: u64,
    /// Of how many octets in all.
    pub octets: u64,
    /// When the last one came, to the second.
    pub last_seen: SystemTime,
}

/// The table of a running gateway.
#[derive(Debug)]
pub struct Filter {
    table: String,
    watch: Watch,
    /// What somebody else takes away, if that can be told.
    changes: Option<Changes>,
    /// Something was taken away, and is not put back yet.
    disturbed: bool,
    /// Not before is it put back again.
    due: Instant,
    _listener: Option<Listener>,
}

/// Reads what the table counted; any task may have one.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What is in place.
    ruleset: Option<Ruleset>,
    /// What earlier tables counted, by policy.
    counted: Counted,
    /// Whom they saw.
    seen: HashMap<(String, IpAddr), PeerClear>,
}

impl Filter {
    /// Puts the table for `policies` in place, instead of what a gateway that was killed left behind, and listens to
    /// what it drops.
    ///
    /// # Errors
    /// See [`NftError`].
    pub async fn install(gateway: &Gateway, policies: &Policies) -> Result<(Self, mpsc::Receiver<Refusal>), NftError> {
        let table = table(gateway);
        let unseen = |error: &io::Error| tracing::warn!("if somebody removes the filter, nobody will notice: {error}");
        let changes = Changes::listen(&table).inspect_err(unseen).ok();
        let (watch, due) = (Watch::default(), Instant::now());
        let mut filter = Self { table, watch, changes, disturbed: false, due, _listener: None };
        filter.apply(gateway, policies).await?;
        let group = Ruleset::new(gateway, policies).group;
        let refusals = match Listener::spawn(group).await {
            Ok((listener, refusals)) => {
                filter._listener = Some(listener);
                refusals
            }
            Err(error) => {
                // They are counted all the same.
                tracing::warn!("packets dropped in the clear will not be told one by one: {error}");
                mpsc::channel(1).1
            }
        };
        Ok((filter, refusals))
    }

    /// Replaces the table by the one for other policies, or for the same. What was counted stays.
    ///
    /// # Errors
    /// See [`NftError`]. The old table is in place then.
    pub async fn apply(&mut self, gateway: &Gateway, policies: &Policies) -> Result<(), NftError> {
        self.put(Ruleset::new(gateway, policies)).await
    }

    async fn put(&mut self, ruleset: Ruleset) -> Result<(), NftError> {
        let mut state = self.watch.0.lock().await;
        let (counted, seen) = match state.current().await {
            Err(NftError::Refused(reason)) => {
                tracing::warn!("what the filter counted last is lost: {reason}");
                (state.counted.clone(), state.seen.clone())
            }
            current => current?,
        };
        if ruleset.is_needed() {
            nft::carry_out(&ruleset.to_string()).await?;
        } else {
            remove(&self.table).await?;
        }
        *state = State { ruleset: ruleset.is_needed().then_some(ruleset), counted, seen };
        drop(state);
        if let Some(changes) = &mut self.changes {
            changes.forget();
        }
        self.disturbed = false;
        Ok(())
    }

    /// Resolves when somebody took something out of the table that is needed; not twice within a moment.
    pub async fn disturbed(&mut self) {
        while !self.disturbed {
            let Some(changes) = &mut self.changes else { return future::pending().await };
            match changes.gone().await {
                Ok(()) => self.disturbed = self.watch.0.lock().await.ruleset.is_some(),
                Err(error) => {
                    tracing::warn!("if somebody removes the filter, nobody will notice: {error}");
                    self.changes = None;
                }
            }
        }
        sleep_until(self.due.into()).await;
    }

    /// Puts the table in place once more.
    ///
    /// # Errors
    /// See [`NftError`]. It is tried again.
    pub async fn restore(&mut self) -> Result<(), NftError> {
        self.due = Instant::now() + AGAIN;
        let ruleset = self.watch.0.lock().await.ruleset.clone();
        match ruleset {
            Some(ruleset) => self.put(ruleset).await,
            None => Ok(()),
        }
    }

    /// To read what it counts.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Removes the table.
    pub async fn remove(self) {
        if let Err(error) = remove(&self.table).await {
            tracing::warn!("the table {} could not be removed: {error}", self.table);
        }
    }
}

/// Removes the table that a gateway with this configuration left behind, if there is one.
///
/// # Errors
/// See [`NftError`]; without `nft` there is nothing to remove.
pub async fn cleanup(gateway: &Gateway) -> Result<(), NftError> {
    match remove(&table(gateway)).await {
        Err(NftError::Missing) => Ok(()),
        result => result,
    }
}

/// Whether a gateway with this configuration that was killed left its table.
pub(super) async fn is_left_behind(gateway: &Gateway) -> bool {
    nft::tables().await.is_ok_and(|tables| tables.contains(&table(gateway)))
}

async fn remove(table: &str) -> Result<(), NftError> {
    // The first line makes sure that there is one.
    nft::carry_out(&format!("table inet {table}\ndelete table inet {table}\n")).await
}

impl Watch {
    /// Clear packets by policy, in the order of policies, since the start of the gateway.
    ///
    /// # Errors
    /// See [`NftError`].
    pub async fn counters(&self) -> Result<Vec<PolicyClear>, NftError> {
        let state = self.0.lock().await;
        let (mut counted, _) = state.current().await?;
        let Some(ruleset) = &state.ruleset else { return Ok(Vec::new()) };
        let of = |policy: &cygnet_spd::Policy| {
            let packets = counted.remove(&policy.name).unwrap_or_default();
            let id = match policy.action {
                Action::Protect(id) => Some(id),
                Action::Bypass | Action::Discard => None,
            };
            PolicyClear { policy: policy.name.clone(), id, packets }
        };
        Ok(ruleset.policies.iter().map(of).collect())
    }

    /// Peers that sent in the clear to policies with level `use`, since the start of the gateway, by policy and
    /// address.
    ///
    /// # Errors
    /// See [`NftError`].
    pub async fn seen(&self) -> Result<Vec<PeerClear>, NftError> {
        let (_, seen) = self.0.lock().await.current().await?;
        let mut all: Vec<PeerClear> = seen.into_values().collect();
        all.sort_by(|a, b| (&a.policy, a.peer).cmp(&(&b.policy, b.peer)));
        Ok(all)
    }
}

type Counted = HashMap<String, Counts>;
type Seen = HashMap<(String, IpAddr), PeerClear>;

impl State {
    /// What earlier tables and the one in place counted together.
    async fn current(&self) -> Result<(Counted, Seen), NftError> {
        let (mut counted, mut seen) = (self.counted.clone(), self.seen.clone());
        let Some(ruleset) = &self.ruleset else { return Ok((counted, seen)) };
        let noting = || ruleset.groups.iter().filter(|group| group.verdict == Verdict::Use);
        let objects = nft::list(&ruleset.table).await?;
        let now = SystemTime::now();
        let packets: HashMap<&str, u64> = objects.iter().filter_map(counter_of).collect();
        let policies: Vec<&cygnet_spd::Policy> = ruleset.policies.iter().collect();
        for group in &ruleset.groups {
            for &order in &group.members {
                let Some(policy) = policies.get(order) else { continue };
                let count = |direction| packets.get(&*counter(direction, order)).copied().unwrap_or(0);
                let counts = counted.entry(policy.name.clone()).or_default();
                match group.verdict {
                    Verdict::Refuse => counts.dropped_in += count(Direction::Inbound),
                    Verdict::Use | Verdict::Pass => counts.accepted += count(Direction::Inbound),
                }
                counts.dropped_out += count(Direction::Outbound);
            }
        }
        for group in noting() {
            let names = peers(group.name());
            for element in objects.iter().filter_map(|object| elements_of(object, &names)).flatten() {
                let Some(peer) = peer_of(element, group, &policies, now) else { continue };
                let key = (peer.policy.clone(), peer.peer);
                match seen.get_mut(&key) {
                    Some(before) => {
                        before.packets += peer.packets;
                        before.octets += peer.octets;
                        before.last_seen = peer.last_seen.max(before.last_seen);
                    }
                    None => drop(seen.insert(key, peer)),
                }
            }
        }
        Ok((counted, seen))
    }
}

/// Name and packets, if it is a counter.
fn counter_of(object: &Value) -> Option<(&str, u64)> {
    let counter = object.get("counter")?;
    Some((counter.get("name")?.as_str()?, counter.get("packets")?.as_u64()?))
}

/// The elements, if it is one of these sets.
fn elements_of<'v>(object: &'v Value, names: &[String; 2]) -> Option<&'v Vec<Value>> {
    let set = object.get("set")?;
    let name = set.get("name")?.as_str()?;
    if names.iter().any(|wanted| wanted == name) { set.get("elem")?.as_array() } else { None }
}

/// An element: whom it is about, and which policy of the group.
fn peer_of(element: &Value, group: &Group, policies: &[&cygnet_spd::Policy], now: SystemTime) -> Option<PeerClear> {
    let element = element.get("elem")?;
    let peer: IpAddr = element.get("val")?.as_str()?.parse().ok()?;
    let count = |name: &str| element.get("counter")?.get(name)?.as_u64();
    let left = element.get("expires")?.as_u64()?;
    let covers =
        |policy: &&&cygnet_spd::Policy| policy.selector.remote.iter().any(|selector| selector.addresses.contains(peer));
    let members = group.members.iter().filter_map(|&order| policies.get(order));
    Some(PeerClear {
        policy: members.into_iter().find(covers)?.name.clone(),
        peer,
        packets: count("packets")?,
        octets: count("bytes")?,
        last_seen: now.checked_sub(Duration::from_secs(MEMORY.saturating_sub(left)))?,
    })
}

#[cfg(test)]
mod tests {
    use cygnet_spd::{Policy, Selector, Terms};
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_of_nft_are_read() {
        let object = json!({ "counter": { "family": "inet", "name": "p1", "packets": 4, "bytes": 336 } });
        assert_eq!(counter_of(&object), Some(("p1", 4)));
        let policy = |remote: &str| Policy {
            name: remote.to_owned(),
            selector: Selector { local: Vec::new(), remote: vec![remote.parse().expect("a selector")] },
            action: Action::Protect(PolicyId(1)),
            terms: Terms::default(),
        };
        let (a, b) = (policy("10.2.0.0/24"), policy("10.2.1.0/24"));
        let group = Group { verdict: Verdict::Use, members: vec![0, 1] };
        let now = SystemTime::now();
        let element = |peer: &str| json!({ "elem": { "val": peer, "expires": MEMORY - 60, "counter": { "packets": 2, "bytes": 168 } } });
        let read = |peer: &str| peer_of(&element(peer), &group, &[&a, &b], now);
        let expected = PeerClear {
            policy: "10.2.1.0/24".to_owned(),
            peer: [10, 2, 1, 7].into(),
            packets: 2,
            octets: 168,
            last_seen: now - Duration::from_secs(60),
        };
        assert_eq!(read("10.2.1.7"), Some(expected));
        assert_eq!(read("10.3.0.1"), None, "of a policy that is gone");
        let set = json!({ "set": { "name": "peers4_0", "elem": [element("10.2.1.7")] } });
        assert_eq!(elements_of(&set, &peers(0)).map(Vec::len), Some(1));
        assert_eq!(elements_of(&set, &peers(1)), None);
    }
}
