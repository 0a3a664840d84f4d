//! From policies to an nftables ruleset: the SPD for packets in the clear, in the same order and with the same words.
//! What arrives is held against all of it (RFC 4301 §5.2 step 3b). What leaves past the TUN device is held against what
//! DISCARD policies say (RFC 4301 §5.1): what PROTECT policies select is steered into the device, and judged there.
//!
//! ```text
//! input:    lo, TUN, IKE, ESP, what IPv6 neighbours say ─► accept      forward:  from and to TUN ─► accept
//!                          else ─► judge                                         else ─► leave, judge
//!      ICMP errors that are not accepted ─► see `icmp`, before the rest in both
//! judge:    BYPASS ─► count, accept
//!           PROTECT, level use ─► count, note the peer, accept
//!           PROTECT, level require; DISCARD ─► count, log a few, drop
//!           no match ─► accept: the rest of the host's traffic is not ours to judge
//! output:   lo, TUN, our mark, what IPv6 neighbours need ─► accept; else ─► leave
//! leave:    BYPASS, PROTECT ─► return; DISCARD ─► count, log a few, drop; no match ─► return
//! ```
//!
//! A packet that is routed through in the clear comes from one network and leaves for another: it must be let pass as
//! one that leaves, and as one that arrives. For traffic that is answered this asks nothing more: the policy that selects
//! the answers as they arrive is the one that selects the packet as it leaves.
//!
//! What the kernel shows us of fragments: `input` sees IPv4 packets whole. IPv6 fragments it sees one by one; all but
//! the first are let through there, since none is delivered without the first, which has the ports and is judged. So
//! ESP and UDP-encapsulated ESP may come in fragments. `forward` sees fragments of both families one by one: where a
//! policy that drops asks for ports, fragments that show none are dropped with it (RFC 4301 §7).

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::IpAddr;

use cygnet_spd::{Action, AddrRange, Direction, Level, Policies, Policy, PortRange, TrafficSelector};

use super::icmp;
use crate::config::{Gateway, IcmpError};

/// How long a peer that sent in the clear is remembered, days.
pub(super) const MEMORY_DAYS: u32 = 30;
/// Peers remembered per rule and family.
const PEERS: u32 = 65_535;
/// Octets of a dropped packet that are logged: most packets as a whole, so that their selectors can be read.
const SNAP: u32 = 2000;

/// What the kernel puts before logged packets that were to leave.
pub(super) const OUTBOUND: &str = "out";

/// What happens to a packet in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// BYPASS.
    Pass,
    /// PROTECT, but clear packets are accepted.
    Use,
    /// PROTECT or DISCARD.
    Refuse,
}

/// Policies behind each other that one rule can carry out: one policy, or several with the same verdict and the same
/// local addresses whose remote addresses have nothing in common, so that their order does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) verdict: Verdict,
    /// Places in the order of policies; the first one names the group.
    pub(super) members: Vec<usize>,
}

impl Group {
    pub(super) fn name(&self) -> usize {
        self.members.first().copied().unwrap_or(0)
    }
}

/// A complete table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// Name of the table: one per gateway, as its routing table is.
    pub(super) table: String,
    /// Where packets are logged.
    pub(super) group: u16,
    pub(super) policies: Policies,
    /// What is said of packets that arrive.
    pub(super) groups: Vec<Group>,
    /// What is said of packets that leave: up to the last policy that refuses some.
    pub(super) leaving: Vec<Group>,
    tun: String,
    ports: [u16; 2],
    fwmark: u32,
    /// ICMP errors that are not accepted.
    rejected: Vec<IcmpError>,
}

impl Ruleset {
    /// The table that enforces `policies`.
    pub fn new(gateway: &Gateway, policies: &Policies) -> Self {
        let accepted = &gateway.unprotected_icmp;
        Self {
            table: table(gateway),
            group: (gateway.route_table & 0xffff) as u16,
            policies: policies.clone(),
            groups: groups(policies, arriving),
            leaving: refusing(groups(policies, leaving)),
            tun: gateway.tun.clone(),
            ports: [gateway.ike_port, gateway.nat_port],
            fwmark: gateway.fwmark,
            rejected: IcmpError::all().into_iter().filter(|error| !accepted.contains(error)).collect(),
        }
    }

    /// Whether a packet in the clear can be dropped, or has to be noted, at all.
    pub fn is_needed(&self) -> bool {
        !self.rejected.is_empty() || self.groups.iter().any(|group| group.verdict != Verdict::Pass)
    }
}

/// Name of the table of this gateway.
pub(super) fn table(gateway: &Gateway) -> String {
    format!("cygnet_{}", gateway.route_table)
}

/// Name of the counter of the policy at this place, for packets of this direction.
pub(super) fn counter(direction: Direction, order: usize) -> String {
    match direction {
        Direction::Inbound => format!("p{order}"),
        Direction::Outbound => format!("out{order}"),
    }
}

/// Names of the sets of peers of the group with this name, by family.
pub(super) fn peers(group: usize) -> [String; 2] {
    [format!("peers4_{group}"), format!("peers6_{group}")]
}

/// What happens to a packet that arrives in the clear.
fn arriving(policy: &Policy) -> Verdict {
    match policy.action {
        Action::Bypass => Verdict::Pass,
        Action::Protect(_) if policy.terms.levels.inbound == Level::Use => Verdict::Use,
        Action::Protect(_) | Action::Discard => Verdict::Refuse,
    }
}

/// What happens to a packet that leaves past the TUN device.
fn leaving(policy: &Policy) -> Verdict {
    match policy.action {
        Action::Bypass | Action::Protect(_) => Verdict::Pass,
        Action::Discard => Verdict::Refuse,
    }
}

/// As far as they make a difference where what nobody knows passes.
fn refusing(mut groups: Vec<Group>) -> Vec<Group> {
    let last = groups.iter().rposition(|group| group.verdict == Verdict::Refuse);
    groups.truncate(last.map_or(0, |last| last + 1));
    groups
}

/// Whether only addresses count.
fn plain(policy: &Policy) -> bool {
    let any = |selector: &TrafficSelector| selector.protocol == 0 && selector.ports == PortRange::ANY;
    policy.selector.local.iter().chain(&policy.selector.remote).all(any)
}

fn groups(policies: &Policies, verdict: fn(&Policy) -> Verdict) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // Of the last group, if others may join: a member, and the remote ranges, by their first address.
    let mut open: Option<(&Policy, BTreeMap<IpAddr, IpAddr>)> = None;
    for (order, policy) in policies.iter().enumerate() {
        let remotes = || policy.selector.remote.iter().map(|selector| selector.addresses);
        if let (Some((like, taken)), Some(group)) = (&mut open, groups.last_mut())
            && plain(policy)
            && group.verdict == verdict(policy)
            && like.selector.local == policy.selector.local
            && remotes().all(|range| is_free(taken, &range))
        {
            group.members.push(order);
            taken.extend(remotes().map(|range| (range.start(), range.end())));
            continue;
        }
        groups.push(Group { verdict: verdict(policy), members: vec![order] });
        let taken = remotes().map(|range| (range.start(), range.end())).collect();
        open = plain(policy).then_some((policy, taken));
    }
    groups
}

/// Whether `range` has no address in common with those taken.
fn is_free(taken: &BTreeMap<IpAddr, IpAddr>, range: &AddrRange) -> bool {
    taken.range(..=range.end()).next_back().is_none_or(|(_, end)| *end < range.start())
}

/// The transaction for `nft -f`: whatever was in the table is replaced, in one step.
impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, group, policies, groups, leaving, tun, ports: [ike, nat], fwmark, rejected } = self;
        writeln!(f, "table inet {table}\ndelete table inet {table}\ntable inet {table} {{")?;
        let refused = leaving.iter().filter(|group| group.verdict == Verdict::Refuse).flat_map(|group| &group.members);
        let counters = (0..policies.len()).map(|order| counter(Direction::Inbound, order));
        for name in counters.chain(refused.map(|&order| counter(Direction::Outbound, order))) {
            writeln!(f, "  counter {name} {{ }}")?;
        }
        for name in groups.iter().filter(|group| group.verdict == Verdict::Use).map(Group::name) {
            let [v4, v6] = peers(name);
            for (set, kind) in [(&v4, "ipv4_addr"), (&v6, "ipv6_addr")] {
                write!(f, "  set {set} {{ type {kind}; flags dynamic,timeout; ")?;
                writeln!(f, "timeout {MEMORY_DAYS}d; size {PEERS}; }}")?;
            }
            writeln!(f, "  chain use_{name} {{")?;
            writeln!(f, "    update @{v4} {{ ip saddr counter }}")?;
            writeln!(f, "    update @{v6} {{ ip6 saddr counter }}")?;
            writeln!(f, "    accept\n  }}")?;
        }
        writeln!(f, "  chain refuse {{")?;
        writeln!(f, "    limit rate 20/second burst 40 packets log group {group} snaplen {SNAP}")?;
        writeln!(f, "    drop\n  }}")?;
        let all: Vec<&Policy> = policies.iter().collect();
        writeln!(f, "  chain judge {{")?;
        for group in groups {
            write_group(f, Direction::Inbound, group, &all)?;
        }
        writeln!(f, "  }}")?;
        if !rejected.is_empty() {
            icmp::chains(f, self, [*ike, *nat])?;
        }
        if !leaving.is_empty() {
            writeln!(f, "  chain refuse_out {{")?;
            write!(f, "    limit rate 20/second burst 40 packets ")?;
            writeln!(f, "log prefix \"{OUTBOUND}\" group {group} snaplen {SNAP}")?;
            writeln!(f, "    drop\n  }}\n  chain leave {{")?;
            for group in leaving {
                write_group(f, Direction::Outbound, group, &all)?;
            }
            writeln!(f, "  }}")?;
        }
        writeln!(f, "  chain input {{\n    type filter hook input priority filter; policy accept;")?;
        writeln!(f, "    iifname {{ \"lo\", \"{tun}\" }} accept")?;
        writeln!(f, "    udp dport {{ {ike}, {nat} }} accept\n    meta l4proto 50 accept")?;
        // Neighbour discovery and router discovery (RFC 4861), which carry what protects anything.
        writeln!(f, "    icmpv6 type 133-137 accept")?;
        icmp::jumps(f, rejected, "about_us")?;
        // ICMP errors about our own outer packets: what path MTU discovery needs, from wherever the router is.
        writeln!(f, "    icmp type 3 @th,136,8 50 accept")?;
        writeln!(f, "    icmp type 3 @th,136,8 17 @th,224,16 {{ {ike}, {nat} }} accept")?;
        writeln!(f, "    icmpv6 type {{ 1, 2 }} @th,112,8 50 accept")?;
        writeln!(f, "    icmpv6 type {{ 1, 2 }} @th,112,8 17 @th,384,16 {{ {ike}, {nat} }} accept")?;
        writeln!(f, "    frag frag-off != 0 accept\n    jump judge\n  }}")?;
        writeln!(f, "  chain forward {{\n    type filter hook forward priority filter; policy accept;")?;
        writeln!(f, "    iifname \"{tun}\" accept\n    oifname \"{tun}\" accept")?;
        icmp::jumps(f, rejected, "about")?;
        if leaving.is_empty() {
            return writeln!(f, "    jump judge\n  }}\n}}");
        }
        // Before `judge`, which accepts for good: what a policy lets in may still be on its way to where nothing goes.
        writeln!(f, "    jump leave\n    jump judge\n  }}")?;
        writeln!(f, "  chain output {{\n    type filter hook output priority filter; policy accept;")?;
        writeln!(f, "    oifname {{ \"lo\", \"{tun}\" }} accept\n    meta mark {fwmark:#x} accept")?;
        // Neighbour and router discovery, and what makes a switch pass it on (RFC 4861, RFC 3810).
        writeln!(f, "    icmpv6 type {{ 130-137, 143 }} accept\n    jump leave\n  }}\n}}")
    }
}

fn write_group(f: &mut fmt::Formatter<'_>, direction: Direction, group: &Group, policies: &[&Policy]) -> fmt::Result {
    let members = || group.members.iter().filter_map(|&order| Some((order, *policies.get(order)?)));
    let Some((order, first)) = members().next() else { return Ok(()) };
    // Of what leaves, only what is refused is counted here; the rest is steered, or goes its way.
    let counted = direction == Direction::Inbound || group.verdict == Verdict::Refuse;
    let name = |order| counter(direction, order);
    let count = if counted { format!("counter name \"{}\" ", name(order)) } else { String::new() };
    let verdict = match (group.verdict, direction) {
        (Verdict::Pass, Direction::Inbound) => "accept".to_owned(),
        // What may leave may still have come from where it must not.
        (Verdict::Pass, Direction::Outbound) => "return".to_owned(),
        (Verdict::Use, _) => format!("goto use_{}", group.name()),
        (Verdict::Refuse, Direction::Inbound) => "goto refuse".to_owned(),
        (Verdict::Refuse, Direction::Outbound) => "goto refuse_out".to_owned(),
    };
    if !plain(first) {
        for remote in &first.selector.remote {
            for local in &first.selector.local {
                for rule in matches(direction, local, remote, group.verdict) {
                    writeln!(f, "    {rule}{count}{verdict}")?;
                }
            }
        }
        return Ok(());
    }
    let field = match direction {
        Direction::Inbound => "saddr",
        Direction::Outbound => "daddr",
    };
    for family in Family::BOTH {
        let of = |selectors: &[TrafficSelector]| -> Vec<AddrRange> {
            selectors.iter().map(|selector| selector.addresses).filter(|range| family.has(range)).collect()
        };
        let local = of(&first.selector.local);
        let remote: Vec<AddrRange> = members().flat_map(|(_, policy)| of(&policy.selector.remote)).collect();
        if local.is_empty() || remote.is_empty() {
            continue;
        }
        write!(f, "    {}", family.addresses(direction, &local, &remote))?;
        if !counted || group.members.len() == 1 {
            write!(f, "{count}")?;
        } else {
            let each = |(order, policy): (usize, &Policy)| {
                merged(&of(&policy.selector.remote)).into_iter().map(move |range| (range, name(order)))
            };
            let all: Vec<String> =
                members().flat_map(each).map(|(range, name)| format!("{} : \"{name}\"", text(&range))).collect();
            write!(f, "counter name {} {field} map {{ {} }} ", family.name(), all.join(", "))?;
        }
        writeln!(f, "{verdict}")?;
    }
    Ok(())
}

/// The conditions of one pair of selectors, each with a space behind it: none, one, or a second one for fragments.
fn matches(direction: Direction, local: &TrafficSelector, remote: &TrafficSelector, verdict: Verdict) -> Vec<String> {
    let Some(family) = Family::of(&local.addresses).filter(|family| family.has(&remote.addresses)) else {
        return Vec::new();
    };
    let protocol = match (local.protocol, remote.protocol) {
        (0, protocol) | (protocol, 0) => protocol,
        (one, other) if one == other => one,
        _ => return Vec::new(),
    };
    let mut head = family.addresses(direction, &[local.addresses], &[remote.addresses]);
    if protocol != 0 {
        let _ = write!(head, "meta l4proto {protocol} ");
    }
    let hidden = match family {
        Family::V4 => "ip frag-off & 0x1fff != 0 ",
        Family::V6 => "frag frag-off != 0 ",
    };
    let opaque = [local, remote].iter().any(|selector| selector.ports.is_opaque());
    let (sender, receiver) = match direction {
        Direction::Inbound => (remote, local),
        Direction::Outbound => (local, remote),
    };
    let Some(shown) = ports(protocol, &sender.ports, &receiver.ports) else {
        // Such ports are never seen; where none are wanted, all packets of a protocol without ports match.
        return match (opaque, has_ports(protocol)) {
            (true, true) => vec![head + hidden],
            (true, false) => vec![head],
            (false, _) => Vec::new(),
        };
    };
    match shown.is_empty() || verdict != Verdict::Refuse {
        true => vec![head + &shown],
        false => vec![head.clone() + &shown, head + hidden],
    }
}

/// TCP, UDP, DCCP, SCTP and UDP-Lite have ports; ICMP has type and code in their place, and the Mobility Header a type.
pub(super) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 1 | 6 | 17 | 33 | 58 | 132 | 135 | 136)
}

/// The condition on ports, empty if any will do, `None` if no packet that shows its ports meets it. Type and code are
/// held against the sender's range alone (RFC 4301 §4.4.1.3).
fn ports(protocol: u8, sender: &PortRange, receiver: &PortRange) -> Option<String> {
    let field = |offset: u8, len: u8, start: u16, end: u16| {
        (start <= end).then(|| format!("@th,{offset},{len} {start}-{end} "))
    };
    let whole = |offset, range: &PortRange| match range.is_any() {
        true => Some(String::new()),
        false => field(offset, 16, range.start, range.end),
    };
    match protocol {
        _ if sender.is_any() && receiver.is_any() => Some(String::new()),
        1 | 58 => whole(0, sender),
        135 if sender.is_any() => Some(String::new()),
        135 => field(16, 8, sender.start.div_ceil(256), sender.end / 256),
        _ if has_ports(protocol) => Some(whole(0, sender)? + &whole(16, receiver)?),
        _ => None,
    }
}

/// The address family of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn of(range: &AddrRange) -> Option<Self> {
        Self::BOTH.into_iter().find(|family| family.has(range))
    }

    pub(super) fn has(self, range: &AddrRange) -> bool {
        range.is_ipv4() == (self == Self::V4)
    }

    fn name(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// Packets of one direction between `local` and `remote`.
    fn addresses(self, direction: Direction, local: &[AddrRange], remote: &[AddrRange]) -> String {
        let (source, destination) = match direction {
            Direction::Inbound => (remote, local),
            Direction::Outbound => (local, remote),
        };
        let any = |ranges: &[AddrRange]| ranges.contains(&AddrRange::ANY_V4) || ranges.contains(&AddrRange::ANY_V6);
        let mut rule = String::new();
        for (field, ranges) in [("saddr", source), ("daddr", destination)] {
            if !any(ranges) {
                let ranges: Vec<String> = merged(ranges).iter().map(text).collect();
                let _ = write!(rule, "{} {field} {{ {} }} ", self.name(), ranges.join(", "));
            }
        }
        if rule.is_empty() {
            rule = self.guard().to_owned();
        }
        rule
    }

    /// Packets of this family.
    pub(super) fn guard(self) -> &'static str {
        match self {
            Self::V4 => "meta nfproto ipv4 ",
            Self::V6 => "meta nfproto ipv6 ",
        }
    }
}

/// The same addresses in as few ranges that do not overlap: sets know no others.
pub(super) fn merged(ranges: &[AddrRange]) -> Vec<AddrRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(AddrRange::start);
    let mut merged: Vec<AddrRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start() <= last.end() => {
                if let Some(both) = AddrRange::new(last.start(), last.end().max(range.end())) {
                    *last = both;
                }
            }
            _ => merged.push(range),
        }
    }
    merged
}

fn text(range: &AddrRange) -> String {
    match range.is_host() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    }
}

#[cfg(test)]
mod tests;
