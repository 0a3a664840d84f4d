//! ICMP errors that arrive in the clear and of a kind that the administrator does not accept (RFC 4301 §6.1.1): they
//! are dropped when they are about traffic that a policy protects, or about our own ESP and IKE. Anybody can send them.
//!
//! ```text
//! ICMP header, 8 octets │ IP header of a packet of ours │ its ports
//! ```
//!
//! The policies are asked in their order, with the addresses of the packet within: its source is the local side. What
//! a policy lets pass in the clear (BYPASS, PROTECT with level `use`) may be told of in the clear, so such errors go on
//! to the rules for all packets. DISCARD policies say nothing here: of what they select nothing was sent.

use std::fmt::{self, Write};
use std::net::IpAddr;

use cygnet_spd::{Action, AddrRange, Direction, Policy, PortRange, TrafficSelector};

use super::ruleset::{Family, Ruleset, Verdict, counter, has_ports, merged};
use crate::config::IcmpError;

/// Offset of the enclosed packet in an ICMP error, bits.
const ENCLOSED: u32 = 64;

/// The conditions by which a kind of error is known, by family.
fn kind(error: IcmpError) -> &'static [&'static str] {
    match error {
        IcmpError::DestinationUnreachable => &["icmp type 3 icmp code != 4", "icmpv6 type 1"],
        IcmpError::PacketTooBig => &["icmp type 3 icmp code 4", "icmpv6 type 2"],
        IcmpError::Redirect => &["icmp type 5"],
        IcmpError::TimeExceeded => &["icmp type 11", "icmpv6 type 3"],
        IcmpError::ParameterProblem => &["icmp type 12", "icmpv6 type 4"],
    }
}

/// Rules that send each kind of error that is not accepted to `chain`.
pub(super) fn jumps(f: &mut fmt::Formatter<'_>, rejected: &[IcmpError], chain: &str) -> fmt::Result {
    for condition in rejected.iter().flat_map(|error| kind(*error)) {
        writeln!(f, "    {condition} jump {chain}")?;
    }
    Ok(())
}

/// The chains that they are sent to: `about_us` where they are for this host, `about` where they are forwarded.
pub(super) fn chains(f: &mut fmt::Formatter<'_>, ruleset: &Ruleset, [ike, nat]: [u16; 2]) -> fmt::Result {
    writeln!(f, "  chain about {{")?;
    let all: Vec<&Policy> = ruleset.policies.iter().collect();
    for group in &ruleset.groups {
        let members = || {
            let known = group.members.iter().filter_map(|&order| Some((order, *all.get(order)?)));
            known.filter(|(_, policy)| policy.action != Action::Discard)
        };
        let Some((order, first)) = members().next() else { continue };
        let end = match group.verdict {
            Verdict::Pass | Verdict::Use => "return".to_owned(),
            Verdict::Refuse => format!("counter name \"{}\" goto refuse", counter(Direction::Inbound, order)),
        };
        let plain = |s: &TrafficSelector| s.protocol == 0 && s.ports == PortRange::ANY;
        if first.selector.local.iter().chain(&first.selector.remote).all(plain) {
            let local: Vec<AddrRange> = first.selector.local.iter().map(|selector| selector.addresses).collect();
            let remotes = members().flat_map(|(_, policy)| &policy.selector.remote);
            let remote: Vec<AddrRange> = remotes.map(|selector| selector.addresses).collect();
            for family in Family::BOTH {
                if let Some(rule) = addresses(family, &local, &remote) {
                    writeln!(f, "    {rule}{end}")?;
                }
            }
            continue;
        }
        for remote in &first.selector.remote {
            for local in &first.selector.local {
                if let Some(rule) = pair(local, remote, group.verdict) {
                    writeln!(f, "    {rule}{end}")?;
                }
            }
        }
    }
    writeln!(f, "  }}\n  chain about_us {{")?;
    for family in Family::BOTH {
        let (guard, protocol, port) = (family.guard(), next_header(family), ports_at(family));
        writeln!(f, "    {guard}@th,{protocol},8 50 counter goto refuse")?;
        writeln!(f, "    {guard}@th,{protocol},8 17 @th,{port},16 {{ {ike}, {nat} }} counter goto refuse")?;
    }
    writeln!(f, "    jump about\n  }}")
}

/// Where the enclosed packet says what it carries, bits.
fn next_header(family: Family) -> u32 {
    ENCLOSED + if family == Family::V4 { 72 } else { 48 }
}

/// Where its ports are if its header is the shortest there is, bits.
fn ports_at(family: Family) -> u32 {
    ENCLOSED + if family == Family::V4 { 160 } else { 320 }
}

/// The condition that the enclosed packet is between these.
fn addresses(family: Family, local: &[AddrRange], remote: &[AddrRange]) -> Option<String> {
    let (at, len) = if family == Family::V4 { (96, 32) } else { (64, 128) };
    let mut rule = family.guard().to_owned();
    for (at, ranges) in [(at, local), (at + len, remote)] {
        let ranges: Vec<AddrRange> = ranges.iter().filter(|range| family.has(range)).copied().collect();
        if ranges.is_empty() {
            return None;
        }
        if !ranges.contains(&AddrRange::ANY_V4) && !ranges.contains(&AddrRange::ANY_V6) {
            let ranges: Vec<String> = merged(&ranges).iter().map(hexadecimal).collect();
            let _ = write!(rule, "@th,{},{len} {{ {} }} ", ENCLOSED + at, ranges.join(", "));
        }
    }
    Some(rule)
}

/// The same for one pair of selectors. What passes must show that it is meant: protocol and ports at their places.
/// What is refused, since it is protected, is refused with any ports, and behind whatever extension headers: who makes
/// up an error chooses them. Whatever is sent to the network of a PROTECT policy is steered into the TUN device, where
/// what no policy selects ends; so only what a later policy lets pass in the clear is not told of by this.
fn pair(local: &TrafficSelector, remote: &TrafficSelector, verdict: Verdict) -> Option<String> {
    let family = Family::of(&local.addresses)?;
    let mut rule = addresses(family, &[local.addresses], &[remote.addresses])?;
    let protocol = match (local.protocol, remote.protocol) {
        (0, protocol) | (protocol, 0) => protocol,
        (one, other) if one == other => one,
        _ => return None,
    };
    let at = next_header(family);
    match (protocol, family, verdict) {
        (0, ..) => return Some(rule),
        // Extension headers may stand before it.
        (43 | 44 | 60, Family::V6, Verdict::Refuse) => drop(write!(rule, "@th,{at},8 {{ 0, 43, 44, 60 }} ")),
        (_, Family::V6, Verdict::Refuse) => drop(write!(rule, "@th,{at},8 {{ 0, 43, 44, 60, {protocol} }} ")),
        _ => drop(write!(rule, "@th,{at},8 {protocol} ")),
    }
    let any = local.ports.is_any() && remote.ports.is_any();
    if any || verdict == Verdict::Refuse {
        return Some(rule);
    }
    // Type and code are the sender's (RFC 4301 §4.4.1.3), and so of our side.
    let wanted = match protocol {
        1 | 58 => [local.ports, PortRange::ANY],
        135 => return None,
        _ if has_ports(protocol) => [local.ports, remote.ports],
        _ => return None,
    };
    if family == Family::V4 {
        // No options, so that the ports are where they are looked for.
        let _ = write!(rule, "@th,{ENCLOSED},8 0x45 ");
    }
    for (at, ports) in [ports_at(family), ports_at(family) + 16].into_iter().zip(wanted) {
        if ports.start > ports.end {
            return None;
        }
        if !ports.is_any() {
            let _ = write!(rule, "@th,{at},16 {}-{} ", ports.start, ports.end);
        }
    }
    Some(rule)
}

/// As nft reads the values of a payload without a type.
fn hexadecimal(range: &AddrRange) -> String {
    let value = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => format!("{:#010x}", v4.to_bits()),
        IpAddr::V6(v6) => format!("{:#034x}", v6.to_bits()),
    };
    match range.is_host() {
        true => value(range.start()),
        false => format!("{}-{}", value(range.start()), value(range.end())),
    }
}
