//! `[connections.NAME.children.NAME]`: what a Child SA protects, with what, for how long.

use std::sync::Arc;
use std::time::Duration;

use cygnet_ike::config::{Child, ChildLifetime, StartAction};
use cygnet_ike::proposal::{Proposal, Protocol};
use cygnet_spd::{
    Acquire, Action, AddrRange, AfterFailure, Level, Mode, Pfp, Policy, PolicyId, Selector, Terms, TrafficSelector,
};

use super::Entry;
use super::connection::proposals;
use super::reader::Section;
use super::selectors::{Ends, one_family, side};
use super::terms;

/// Soft limit by time where none is configured.
const REKEY_TIME: Duration = Duration::from_secs(3600);

/// Priority of the policies of children where none is configured: smaller numbers come before, as exceptions; larger
/// ones after.
pub(super) const PRIORITY: u64 = 1000;

/// Reads the children of `connection` and adds an SPD entry for each to `protect`.
pub(super) fn read(
    section: &Section<'_>,
    connection: &str,
    ends: Ends<'_>,
    protect: &mut Vec<Entry>,
) -> Vec<Arc<Child>> {
    let mut children = Vec::new();
    for (name, section) in section.sections("children", "child") {
        let mut terms = terms::read(&section);
        let words = [("none", StartAction::None), ("trap", StartAction::Trap), ("start", StartAction::Start)];
        let start = section.word("start_action", &words).unwrap_or(StartAction::None);
        startable(&section, start, &terms, ends);
        forgotten(&section, connection, &terms, ends);
        if start == StartAction::None {
            terms.acquire = Acquire::Other;
        }
        let (local_hosts, remote_hosts) = ends.dynamic(terms.mode);
        let mut local_ts = side(&section, "local_ts", "local_addrs", terms.mode, &local_hosts);
        let remote_ts = side(&section, "remote_ts", "remote_addrs", terms.mode, &remote_hosts);
        if !section.has("local_ts") && terms.mode == Mode::Transport {
            // Of our addresses only those of the peers' families; were it none, that is a mistake to be told.
            let meets = |ts: &TrafficSelector| {
                remote_ts.iter().any(|other| other.addresses.is_ipv4() == ts.addresses.is_ipv4())
            };
            if local_ts.iter().any(meets) {
                local_ts.retain(meets);
            }
        }
        one_family(&section, &local_ts, &remote_ts);
        let policy = PolicyId(u32::try_from(protect.len()).expect("a configuration file has fewer children"));
        let selector = Selector { local: local_ts.clone(), remote: remote_ts.clone() };
        if let Some(other) = protect.iter().find(|other| other.policy.selector == selector)
            && !selector.local.is_empty()
        {
            let title = &section.title;
            section.context().problems.warn(format!(
                "{title} of connection `{connection}` protects the same traffic as `{}`, which comes first",
                other.policy.name
            ));
        }
        if !terms.pfp.fits(&selector) {
            let remedy = "take the port out of `pfp`, or `opaque` out of the selectors of that side";
            let message = "a port that can't be seen can't be taken from a packet (RFC 4301 §4.4.2.2)";
            section.mistake("pfp", message, "not with `opaque` selectors", remedy);
        }
        let priority = section.integer("priority", 0..=1_000_000).unwrap_or(PRIORITY);
        let (name, offset) = (name.value.to_owned(), name.span.start);
        let entry = Policy { name: format!("{connection}/{name}"), selector, action: Action::Protect(policy), terms };
        protect.push(Entry { priority, offset, policy: entry });
        let proposals = proposals(&section, "esp_proposals", Protocol::Esp);
        let proposals = proposals.unwrap_or_else(|| Proposal::defaults(Protocol::Esp));
        let lifetime = lifetime(&section);
        let window = section.integer("replay_window", 64..=65536).unwrap_or(1024);
        children.push(Arc::new(Child {
            name,
            policy,
            local_ts,
            remote_ts,
            mode: terms.mode,
            pfp: terms.pfp,
            headers: terms::headers(&section),
            proposals,
            start,
            lifetime,
            replay_window: u32::try_from(window.next_multiple_of(64)).expect("the range was checked"),
            per_resource_sas: section.flag("per_resource_sas").unwrap_or(false),
        }));
        section.finish();
    }
    children
}

/// Notes a child that nobody here could bring up, though it says that we do.
fn startable(section: &Section<'_>, start: StartAction, terms: &Terms, ends: Ends<'_>) {
    let single = ends.remote.iter().any(AddrRange::is_host);
    let (message, label, remedy) = match (start, terms.mode) {
        (StartAction::None, _) | (StartAction::Trap, Mode::Transport) => return,
        (StartAction::Start, Mode::Transport) if ends.remote_host().is_none() => (
            "which of the peers shall be dialled at start?",
            "`remote_addrs` is not one address",
            "start_action = \"trap\" dials each peer on its first packet; or one address in `remote_addrs`",
        ),
        (_, Mode::Tunnel) if !single => (
            "there is nobody to dial",
            "`remote_addrs` has no single address",
            "add the peer's address to `remote_addrs`, or leave `start_action` out and let the peer begin",
        ),
        (StartAction::Start, _) if terms.pfp != Pfp::default() => (
            "`pfp` takes selectors from a packet, and at start there is none",
            "without a packet",
            "start_action = \"trap\", or leave `pfp` out",
        ),
        _ => return,
    };
    section.mistake("start_action", message, label, remedy);
}

/// Warns of a child that goes in the clear because nobody said who brings its SA up, though we could.
fn forgotten(section: &Section<'_>, connection: &str, terms: &Terms, ends: Ends<'_>) {
    let clear = terms.levels.outbound == Level::Use && terms.failed == AfterFailure::Clear;
    let dialable = terms.mode == Mode::Transport || ends.remote.iter().any(AddrRange::is_host);
    if clear && dialable && !section.has("start_action") {
        section.context().problems.warn(format!(
            "{} of connection `{connection}` is sent in the clear until somebody brings the SA up: set start_action = \
             \"trap\" or \"start\" (\"none\" if that is meant)",
            section.title
        ));
    }
}

/// Soft and hard limits (RFC 4301 §4.4.2.1).
fn lifetime(section: &Section<'_>) -> ChildLifetime {
    let rekey_time = section.duration("rekey_time").unwrap_or(Some(REKEY_TIME));
    let rekey_jitter = section.duration("rekey_jitter").map(Option::unwrap_or_default);
    let life_time = section.duration("life_time").unwrap_or(rekey_time.map(|soft| soft + soft / 10));
    let (rekey_bytes, life_bytes) = pair(section, "rekey_bytes", "life_bytes");
    let (rekey_packets, life_packets) = pair(section, "rekey_packets", "life_packets");
    after(section, "life_time", "rekey_time", rekey_time, life_time);
    ChildLifetime {
        rekey_time,
        rekey_jitter: rekey_jitter.unwrap_or(rekey_time.unwrap_or_default() / 10).min(rekey_time.unwrap_or_default()),
        life_time,
        rekey_bytes,
        life_bytes,
        rekey_packets,
        life_packets,
    }
}

/// A soft limit, and a hard one a tenth beyond it where it is not given.
fn pair(section: &Section<'_>, soft_key: &'static str, hard_key: &'static str) -> (Option<u64>, Option<u64>) {
    let soft = section.size(soft_key).flatten();
    let hard = section.size(hard_key).unwrap_or(soft.map(|soft| soft.saturating_add(soft / 10)));
    after(section, hard_key, soft_key, soft, hard);
    (soft, hard)
}

/// Notes a hard limit that does not lie beyond the soft one: the SA would go before its successor is there.
fn after<T: PartialOrd>(section: &Section<'_>, hard_key: &str, soft_key: &str, soft: Option<T>, hard: Option<T>) {
    if let (Some(soft), Some(hard)) = (soft, hard)
        && hard <= soft
        && section.has(hard_key)
    {
        let remedy = format!("make `{hard_key}` larger than `{soft_key}`, or leave it out");
        let message = format!("`{hard_key}` is reached before `{soft_key}`");
        section.mistake(hard_key, message, "the SA would end before its successor is there", remedy);
    }
}
