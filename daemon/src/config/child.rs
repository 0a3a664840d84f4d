//! `[connections.NAME.children.NAME]`: what a Child SA protects, with what, for how long.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cygnet_ike::config::{Child, ChildLifetime, StartAction};
use cygnet_ike::proposal::{Proposal, Protocol};
use cygnet_spd::{Action, AddrRange, Mode, Pfp, Policy, PolicyId, Selector, Terms, TrafficSelector};

use super::connection::proposals;
use super::reader::Section;
use super::terms;

/// Soft limit by time where none is configured.
const REKEY_TIME: Duration = Duration::from_secs(3600);

/// Priority of the policies of children where none is configured: smaller numbers come before, as exceptions; larger
/// ones after.
const PRIORITY: u64 = 1000;

/// Where both ends of a connection may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends<'a> {
    /// Our addresses; none is any.
    pub(super) local: &'a [IpAddr],
    /// The peers' addresses; none is any.
    pub(super) remote: &'a [AddrRange],
}

impl Ends<'_> {
    /// Our address, if it is one.
    pub(super) fn local_host(&self) -> Option<IpAddr> {
        if let [address] = self.local { Some(*address) } else { None }
    }

    /// The peer's address, if it is one.
    pub(super) fn remote_host(&self) -> Option<IpAddr> {
        if let [range] = self.remote { range.is_host().then(|| range.start()) } else { None }
    }

    /// What `dynamic` stands for, on our side and the peer's: in tunnel mode the one address of that side, in
    /// transport mode every host that it may be.
    fn dynamic(&self, mode: Mode) -> (Vec<AddrRange>, Vec<AddrRange>) {
        let hosts = |address: Option<IpAddr>| address.map(AddrRange::host).into_iter().collect();
        match mode {
            Mode::Tunnel => (hosts(self.local_host()), hosts(self.remote_host())),
            Mode::Transport if self.local.is_empty() => (ANYWHERE.to_vec(), self.remote.to_vec()),
            Mode::Transport => (self.local.iter().copied().map(AddrRange::host).collect(), self.remote.to_vec()),
        }
    }
}

const ANYWHERE: [AddrRange; 2] = [AddrRange::ANY_V4, AddrRange::ANY_V6];

/// An SPD entry of a child and its priority.
pub(super) type Prioritized = (u64, Policy);

/// Reads the children of `connection` and adds an SPD entry for each to `protect`.
pub(super) fn read(
    section: &Section<'_>,
    connection: &str,
    ends: Ends<'_>,
    protect: &mut Vec<Prioritized>,
) -> Vec<Arc<Child>> {
    let mut children = Vec::new();
    for (name, section) in section.sections("children", "child") {
        let terms = terms::read(&section);
        let (local_hosts, remote_hosts) = ends.dynamic(terms.mode);
        let mut local_ts = side(&section, "local_ts", "local_addrs", terms.mode, &local_hosts);
        let remote_ts = side(&section, "remote_ts", "remote_addrs", terms.mode, &remote_hosts);
        if !section.has("local_ts") && terms.mode == Mode::Transport {
            let families = |v4| remote_ts.iter().any(|ts| ts.addresses.is_ipv4() == v4);
            local_ts.retain(|ts| remote_ts.is_empty() || families(ts.addresses.is_ipv4()));
        }
        one_family(&section, &local_ts, &remote_ts);
        let policy = PolicyId(u32::try_from(protect.len()).expect("a configuration file has fewer children"));
        let selector = Selector { local: local_ts.clone(), remote: remote_ts.clone() };
        if let Some((_, other)) = protect.iter().find(|(_, other)| other.selector == selector)
            && !selector.local.is_empty()
        {
            let title = &section.title;
            section.context().problems.warn(format!(
                "{title} of connection `{connection}` protects the same traffic as `{}`, which comes first",
                other.name
            ));
        }
        let priority = section.integer("priority", 0..=1_000_000).unwrap_or(PRIORITY);
        let name = name.value.to_owned();
        let action = Action::Protect(policy);
        protect.push((priority, Policy { name: format!("{connection}/{name}"), selector, action, terms }));
        let proposals = proposals(&section, "esp_proposals", Protocol::Esp);
        let proposals = proposals.unwrap_or_else(|| Proposal::defaults(Protocol::Esp));
        let words = [("none", StartAction::None), ("trap", StartAction::Trap), ("start", StartAction::Start)];
        let start = section.word("start_action", &words).unwrap_or(StartAction::None);
        startable(&section, start, &terms, ends);
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

/// One side's selectors. Without the key: all traffic of `hosts`, what `dynamic` stands for.
fn side(
    section: &Section<'_>,
    key: &'static str,
    addrs: &str,
    mode: Mode,
    hosts: &[AddrRange],
) -> Vec<TrafficSelector> {
    let given = section.has(key);
    let selectors = match mode {
        Mode::Tunnel => selectors(section, key, hosts),
        Mode::Transport => host_selectors(section, key, addrs, hosts),
    };
    match selectors {
        Some(selectors) => selectors,
        None if given => Vec::new(),
        None if !hosts.is_empty() && !(key == "remote_ts" && hosts.iter().any(|range| ANYWHERE.contains(range))) => {
            hosts.iter().copied().map(TrafficSelector::any).collect()
        }
        None => {
            let remedy = match mode {
                Mode::Tunnel => format!("add {key} = [\"10.0.0.0/24\"], or one address in `{addrs}` of the connection"),
                Mode::Transport => format!(
                    "name the hosts in `{addrs}` of the connection (\"10.1.1.0/24\"); if every host is meant: \
                     {key} = [\"0.0.0.0/0\", \"::/0\"]"
                ),
            };
            section.mistake(key, "which traffic?", format!("`{key}` is missing"), remedy);
            Vec::new()
        }
    }
}

/// A list of traffic selectors; `dynamic` is each of `hosts`.
pub(super) fn selectors(section: &Section<'_>, key: &'static str, hosts: &[AddrRange]) -> Option<Vec<TrafficSelector>> {
    let example = "\"10.0.0.0/24\", \"2001:db8::/64\", \"10.0.0.1-10.0.0.9\", \"10.0.0.0/24[tcp/443]\"";
    let lists = section.parse_list(key, example, |text| match (text.strip_prefix("dynamic"), hosts) {
        (Some(_), []) => Err("`dynamic` needs one address in the connection's `local_addrs`/`remote_addrs`".to_owned()),
        (Some(rest), hosts) => dynamic(rest, hosts),
        (None, _) => one(text),
    });
    lists.map(|lists| lists.concat())
}

/// A list of traffic selectors of transport mode: of `hosts` only (RFC 4301 §4.1), none is any.
fn host_selectors(
    section: &Section<'_>,
    key: &'static str,
    addrs: &str,
    hosts: &[AddrRange],
) -> Option<Vec<TrafficSelector>> {
    let example = "\"dynamic\", \"dynamic[tcp/443]\"; what lies behind the hosts needs mode = \"tunnel\"";
    let hosts = if hosts.is_empty() { &ANYWHERE } else { hosts };
    let lists = section.parse_list(key, example, |text| {
        if let Some(rest) = text.strip_prefix("dynamic") {
            return dynamic(rest, hosts);
        }
        let selectors = one(text)?;
        let inside = |ts: &TrafficSelector| hosts.iter().any(|range| range.contains_range(&ts.addresses));
        if !selectors.iter().all(inside) {
            return Err(format!("transport mode joins the hosts themselves: this is not within `{addrs}`"));
        }
        Ok(selectors)
    });
    lists.map(|lists| lists.concat())
}

/// `dynamic`, with `rest` behind it: protocol and ports.
fn dynamic(rest: &str, hosts: &[AddrRange]) -> Result<Vec<TrafficSelector>, String> {
    let pattern: TrafficSelector = format!("0.0.0.0{rest}").parse().map_err(reason)?;
    Ok(hosts.iter().map(|&addresses| TrafficSelector { addresses, ..pattern }).collect())
}

fn one(text: &str) -> Result<Vec<TrafficSelector>, String> {
    let selector = text.parse().map_err(|error| match network(text) {
        Some(network) => format!("{error}; the network is {network}"),
        None => reason(error),
    })?;
    Ok(vec![selector])
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
