//! `[connections.NAME.children.NAME]`: what a Child SA protects, with what, for how long.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cygnet_esp::tunnel::Rules;
use cygnet_ike::config::{Child, ChildLifetime, StartAction};
use cygnet_ike::proposal::{Proposal, Protocol};
use cygnet_spd::{Action, AddrRange, Mode, Pfp, Policy, PolicyId, Selector, Terms, TrafficSelector};

use super::connection::proposals;
use super::reader::Section;

/// Soft limit by time where none is configured.
const REKEY_TIME: Duration = Duration::from_secs(3600);

/// Single addresses of both ends, which `dynamic` stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) local: Option<IpAddr>,
    pub(super) remote: Option<IpAddr>,
}

/// Reads the children of `connection` and adds an SPD entry for each to `protect`.
pub(super) fn read(section: &Section<'_>, connection: &str, ends: Ends, protect: &mut Vec<Policy>) -> Vec<Arc<Child>> {
    let mut children = Vec::new();
    for (name, section) in section.sections("children", "child") {
        let local_ts = side(&section, "local_ts", "local_addrs", ends.local);
        let remote_ts = side(&section, "remote_ts", "remote_addrs", ends.remote);
        one_family(&section, &local_ts, &remote_ts);
        let policy = PolicyId(u32::try_from(protect.len()).expect("a configuration file has fewer children"));
        let selector = Selector { local: local_ts.clone(), remote: remote_ts.clone() };
        if let Some(other) = protect.iter().find(|other| other.selector == selector && !selector.local.is_empty()) {
            let title = &section.title;
            section.context().problems.warn(format!(
                "{title} of connection `{connection}` protects the same traffic as `{}`, which comes first",
                other.name
            ));
        }
        protect.push(Policy {
            name: format!("{connection}/{}", name.value),
            selector,
            action: Action::Protect(policy),
            terms: Terms::default(),
        });
        let proposals = proposals(&section, "esp_proposals", Protocol::Esp);
        let proposals = proposals.unwrap_or_else(|| Proposal::defaults(Protocol::Esp));
        let start = [("none", StartAction::None), ("trap", StartAction::Trap), ("start", StartAction::Start)];
        let start = section.word("start_action", &start).unwrap_or(StartAction::None);
        let lifetime = lifetime(&section);
        let window = section.integer("replay_window", 64..=65536).unwrap_or(1024);
        let replay_window = u32::try_from(window.next_multiple_of(64)).expect("the range was checked");
        let name = name.value.to_owned();
        children.push(Arc::new(Child {
            name,
            policy,
            local_ts,
            remote_ts,
            mode: Mode::Tunnel,
            pfp: Pfp::default(),
            headers: Rules::default(),
            proposals,
            start,
            lifetime,
            replay_window,
        }));
        section.finish();
    }
    children
}

/// One side's selectors. Without the key: the end's own address.
fn side(section: &Section<'_>, key: &'static str, addrs: &str, end: Option<IpAddr>) -> Vec<TrafficSelector> {
    let given = section.has(key);
    match (selectors(section, key, end), end) {
        (Some(selectors), _) => selectors,
        (None, Some(end)) if !given => vec![TrafficSelector::any(AddrRange::host(end))],
        (None, _) => {
            if !given {
                let remedy = format!("add {key} = [\"10.0.0.0/24\"], or one address in `{addrs}` of the connection");
                section.mistake(key, "which traffic?", format!("`{key}` is missing"), remedy);
            }
            Vec::new()
        }
    }
}

/// A list of traffic selectors; `dynamic` is the end's own address.
pub(super) fn selectors(section: &Section<'_>, key: &'static str, end: Option<IpAddr>) -> Option<Vec<TrafficSelector>> {
    let example = "\"10.0.0.0/24\", \"2001:db8::/64\", \"10.0.0.1-10.0.0.9\", \"10.0.0.0/24[tcp/443]\"";
    section.parse_list(key, example, |text| match (text.strip_prefix("dynamic"), end) {
        (Some(rest), Some(end)) => format!("{end}{rest}").parse().map_err(reason),
        (Some(_), None) => {
            Err("`dynamic` needs one address in the connection's `local_addrs`/`remote_addrs`".to_owned())
        }
        (None, _) => text.parse().map_err(|error| match network(text) {
            Some(network) => format!("{error}; the network is {network}"),
            None => reason(error),
        }),
    })
}

fn reason(error: cygnet_spd::ParseTrafficSelectorError) -> String {
    error.to_string()
}

/// The network meant by an address with bits set behind its prefix length.
fn network(text: &str) -> Option<AddrRange> {
    let (address, length) = text.split('[').next()?.split_once('/')?;
    AddrRange::prefix(address.trim().parse().ok()?, length.trim().parse().ok()?)
}

/// A selector pair joins addresses of one family: sides without a common one protect nothing.
fn one_family(section: &Section<'_>, local: &[TrafficSelector], remote: &[TrafficSelector]) {
    let has = |side: &[TrafficSelector], v4| side.iter().any(|ts| ts.addresses.is_ipv4() == v4);
    if local.is_empty() || remote.is_empty() || [true, false].iter().any(|&v4| has(local, v4) && has(remote, v4)) {
        return;
    }
    let remedy = "give both sides an IPv4 network, or both an IPv6 network";
    section.mistake("remote_ts", "nothing to protect", "of another address family than `local_ts`", remedy);
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
