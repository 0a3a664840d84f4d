//! `local_ts` and `remote_ts`: which traffic, and the addresses that `dynamic` stands for.

use std::net::IpAddr;

use cygnet_spd::{AddrRange, Mode, TrafficSelector};

use super::reader::Section;

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
    pub(super) fn dynamic(&self, mode: Mode) -> (Vec<AddrRange>, Vec<AddrRange>) {
        let hosts = |address: Option<IpAddr>| address.map(AddrRange::host).into_iter().collect();
        match mode {
            Mode::Tunnel => (hosts(self.local_host()), hosts(self.remote_host())),
            Mode::Transport if self.local.is_empty() => (ANYWHERE.to_vec(), self.remote.to_vec()),
            Mode::Transport => (self.local.iter().copied().map(AddrRange::host).collect(), self.remote.to_vec()),
        }
    }
}

const ANYWHERE: [AddrRange; 2] = [AddrRange::ANY_V4, AddrRange::ANY_V6];

/// One side's selectors. Without the key: all traffic of `hosts`, what `dynamic` stands for.
pub(super) fn side(
    section: &Section<'_>,
    key: &'static str,
    addrs: &str,
    mode: Mode,
    hosts: &[AddrRange],
) -> Vec<TrafficSelector> {
    let given = section.has(key);
    // Nobody means every host of the world by leaving a key out.
    let everybody = key == "remote_ts" && hosts.iter().any(|range| ANYWHERE.contains(range));
    let selectors = match mode {
        Mode::Tunnel => selectors(section, key, hosts),
        Mode::Transport => host_selectors(section, key, addrs, hosts),
    };
    match selectors {
        Some(selectors) => selectors,
        None if given => Vec::new(),
        None if !hosts.is_empty() && !everybody => hosts.iter().copied().map(TrafficSelector::any).collect(),
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
pub(super) fn one_family(section: &Section<'_>, local: &[TrafficSelector], remote: &[TrafficSelector]) {
    let has = |side: &[TrafficSelector], v4| side.iter().any(|ts| ts.addresses.is_ipv4() == v4);
    if local.is_empty() || remote.is_empty() || [true, false].iter().any(|&v4| has(local, v4) && has(remote, v4)) {
        return;
    }
    let remedy = "give both sides an IPv4 network, or both an IPv6 network";
    section.mistake("remote_ts", "nothing to protect", "of another address family than `local_ts`", remedy);
}
