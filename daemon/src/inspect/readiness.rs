//! Whether a policy of level `use` can be switched to `require`: per peer, whether traffic is protected now, and what
//! still went in the clear.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use cygnet_sad::{PairStatus, Standing};
use cygnet_spd::{Acquire, Action, Level, Mode, Policy};

use super::{Inspection, Missing, span};

/// How long a peer must have sent nothing in the clear before it counts as switched over.
pub const QUIET: Duration = Duration::from_secs(60);

/// One policy and one of its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Name of the policy.
    pub policy: String,
    /// Whether what arrives must be protected already.
    pub required: bool,
    /// The peer; `None` where nothing is known of any.
    pub peer: Option<IpAddr>,
    /// How long there has been an SA with it.
    pub protected: Option<Duration>,
    /// Packets of it seen in the clear.
    pub clear_packets: u64,
    /// Octets of those.
    pub clear_octets: u64,
    /// Time since the last of them; `None` if there was none, as far as is known.
    pub last_clear: Option<Duration>,
    /// Packets of the policy that we sent in the clear for want of an SA, to whomever.
    pub sent_clear: u64,
    /// Time since the last of those.
    pub last_sent_clear: Option<Duration>,
    /// Whether nothing would be lost by `require`.
    pub ready: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Every protecting policy with every peer that is known of it.
pub fn readiness(inspection: &Inspection) -> Vec<Readiness> {
    let protecting = inspection.policies.iter().filter(|policy| matches!(policy.action, Action::Protect(_)));
    protecting.flat_map(|policy| of_policy(inspection, policy)).collect()
}

/// What is known of one peer.
#[derive(Default)]
struct Peer {
    protected: Option<Duration>,
    packets: u64,
    octets: u64,
    last: Option<Duration>,
}

fn of_policy(inspection: &Inspection, policy: &Policy) -> Vec<Readiness> {
    let mut peers: BTreeMap<Option<IpAddr>, Peer> = BTreeMap::new();
    let active = |status: &&PairStatus| status.standing == Standing::Active;
    for status in inspection.pairs_of(policy).filter(active) {
        // Behind a tunnel's peer there are others, whose clear traffic does not have its address.
        let peer = (policy.terms.mode == Mode::Transport).then(|| status.pair.path().remote.ip());
        let age = age(inspection, status);
        let known = peers.entry(peer).or_default();
        known.protected = known.protected.max(Some(age));
    }
    let all = inspection.filtered.iter().flat_map(|filtered| &filtered.seen);
    for seen in all.filter(|seen| seen.policy == policy.name) {
        let peer = if policy.terms.mode == Mode::Transport { seen.peer } else { None };
        let known = peers.entry(peer).or_default();
        known.packets += seen.packets;
        known.octets += seen.octets;
        known.last = [known.last, seen.last].into_iter().flatten().min();
    }
    if peers.is_empty() {
        peers.insert(None, Peer::default());
    }
    peers.into_iter().map(|(peer, known)| judge(inspection, policy, peer, &known)).collect()
}

/// Since when traffic has been protected without a gap: rekeys do not count.
fn age(inspection: &Inspection, status: &PairStatus) -> Duration {
    let installed = status.pair.installed().elapsed();
    let ike = inspection.negotiated(status).and_then(|(ike, _)| ike.established);
    ike.map_or(installed, |at| at.elapsed().max(installed))
}

fn judge(inspection: &Inspection, policy: &Policy, peer: Option<IpAddr>, known: &Peer) -> Readiness {
    let required = policy.terms.levels.inbound == Level::Require;
    let (ready, reason) = match known.protected {
        _ if required => (true, "`require` already".to_owned()),
        None => (false, missing(inspection, policy, peer)),
        Some(_) if inspection.filtered.is_none() => {
            (false, "nobody looks for clear traffic: `gateway.clear_filter` is off".to_owned())
        }
        Some(_) if known.last.is_some_and(|last| last < QUIET) => {
            let last = known.last.map_or_else(String::new, span);
            (
                false,
                format!("it still sends in the clear, {last} ago: is its policy in force, and of the same selectors?"),
            )
        }
        Some(age) if age < QUIET => (false, format!("protected for {} only: look again in a minute", span(age))),
        Some(age) => {
            let quiet = known.last.map_or(age, |last| last.min(age));
            (true, format!("protected for {}, nothing in the clear for {}", span(age), span(quiet)))
        }
    };
    let cleared = match policy.action {
        Action::Protect(id) => inspection.cleared.get(&id).copied(),
        Action::Bypass | Action::Discard => None,
    };
    Readiness {
        sent_clear: cleared.map_or(0, |cleared| cleared.packets),
        last_sent_clear: cleared.and_then(|cleared| cleared.last),
        policy: policy.name.clone(),
        required,
        peer,
        protected: known.protected,
        clear_packets: known.packets,
        clear_octets: known.octets,
        last_clear: known.last,
        ready,
        reason,
    }
}

fn missing(inspection: &Inspection, policy: &Policy, peer: Option<IpAddr>) -> String {
    let any = IpAddr::from([0, 0, 0, 0]);
    match inspection.missing(policy, peer.unwrap_or(any)) {
        Missing::Failed(failed, _) => format!("no SA: the negotiation {}", super::explain::failure(failed.as_ref())),
        Missing::Negotiating => "no SA yet: it is being negotiated".to_owned(),
        Missing::NotAsked if policy.terms.acquire == Acquire::Other => {
            "no SA, and only a command or the peer brings it up (start_action is none)".to_owned()
        }
        Missing::NotAsked => "no SA, and no traffic that asks for one".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::moment;
    use super::*;
    use crate::inspect::{Filtered, Seen};

    const MESH: &str = "children.all = { mode = \"transport\", level = \"use\", start_action = \"trap\" }\n";

    fn seen(peer: [u8; 4], last: u64) -> Seen {
        let last = Some(Duration::from_secs(last));
        Seen { policy: "c/all".to_owned(), peer: Some(peer.into()), packets: 3, octets: 300, last }
    }

    #[test]
    fn a_peer_is_ready_when_it_is_protected_and_quiet() {
        let mut inspection = moment("\"192.0.2.0/24\"", MESH);
        let [row] = &readiness(&inspection)[..] else { panic!("one") };
        assert!(!row.ready && row.reason.contains("no SA"), "{}", row.reason);

        inspection = inspection.with_sas();
        let filtered = |seen| Some(Filtered { seen, ..Filtered::default() });
        inspection.filtered = filtered(vec![seen([192, 0, 2, 2], 5), seen([192, 0, 2, 3], 5)]);
        let rows = readiness(&inspection);
        assert_eq!(rows.iter().map(|row| row.ready).collect::<Vec<_>>(), [false, false]);
        assert_eq!((rows[0].clear_packets, rows[0].clear_octets), (3, 300));
        assert!(rows[0].reason.contains("still sends in the clear, 5s ago"), "{}", rows[0].reason);
        assert!(rows[1].reason.contains("no SA"), "{}", rows[1].reason);

        inspection.filtered = filtered(vec![seen([192, 0, 2, 2], 600)]);
        assert!(readiness(&inspection)[0].reason.contains("look again in a minute"));
        let policy = inspection.policies.iter().next().expect("one").clone();
        let known =
            Peer { protected: Some(Duration::from_secs(300)), last: Some(Duration::from_secs(200)), ..Peer::default() };
        let row = judge(&inspection, &policy, None, &known);
        assert!(row.ready, "{}", row.reason);
        assert_eq!(row.reason, "protected for 5m, nothing in the clear for 3m");
        inspection.filtered = None;
        assert!(!judge(&inspection, &policy, None, &known).ready, "nobody looked");
    }

    #[test]
    fn what_requires_already_is_ready() {
        let inspection = moment("\"192.0.2.0/24\"", &MESH.replace("\"use\"", "\"require\""));
        let [row] = &readiness(&inspection)[..] else { panic!("one") };
        assert!(row.ready && row.required);
    }
}
