//! What happens to a packet, and to its answer, in three lines: policy, SA, fate.

use std::fmt::Write as _;
use std::net::IpAddr;

use cygnet_sad::{PairStatus, Standing};
use cygnet_spd::{Acquire, Action, Direction, Flow, Mode, Outcome, Policy, Ports, SaState, TrafficSelector};

use super::{Inspection, Missing, since, span};
use crate::handle::Failed;

/// The three lines, and what they say in words for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Which policy, and where it stands.
    pub policy: String,
    /// Which SA, or why none.
    pub sa: String,
    /// What happens to the packet, and to an answer to it.
    pub fate: String,
    /// Name of the policy, if there is one.
    pub name: Option<String>,
    /// `protected`, `held`, `clear` or `dropped`.
    pub outbound: &'static str,
    /// What happens to the answer if it comes without protection: `clear` or `dropped`.
    pub inbound_clear: &'static str,
}

/// Reads `SRC DST [PROTO [SPORT DPORT]]`. Without a protocol: an ICMP echo request. For ICMP the numbers are type and
/// code.
///
/// # Errors
/// What is wrong, and how it is written.
pub fn flow(words: &[&str]) -> Result<Flow, String> {
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| format!("`{text}` is not an IP address"));
    let (source, destination, rest) = match words {
        [source, destination, rest @ ..] => (address(source)?, address(destination)?, rest),
        _ => return Err("two addresses are needed: SRC DST [PROTO [SPORT DPORT]]".to_owned()),
    };
    if source.is_ipv4() != destination.is_ipv4() {
        return Err("both addresses must be of one family".to_owned());
    }
    let v6 = source.is_ipv6();
    let (name, numbers) = rest.split_first().map_or((if v6 { "icmpv6" } else { "icmp" }, &[][..]), |(n, r)| (*n, r));
    let pattern: TrafficSelector =
        format!("0.0.0.0[{name}]").parse().map_err(|_| format!("`{name}` is no protocol"))?;
    let numbers: Result<Vec<u16>, String> =
        numbers.iter().map(|text| text.parse().map_err(|_| format!("`{text}` is not a port"))).collect();
    let byte = |number: u16| u8::try_from(number).map_err(|_| format!("{number} is no ICMP type or code: 0 to 255"));
    let ports = match (pattern.protocol, &numbers?[..]) {
        (0, _) => return Err("a packet has one protocol: tcp, udp, icmp, …".to_owned()),
        (1, []) => Ports::Icmp { kind: 8, code: 0 },
        (58, []) => Ports::Icmp { kind: 128, code: 0 },
        (1 | 58, [kind, code]) => Ports::Icmp { kind: byte(*kind)?, code: byte(*code)? },
        (6 | 17 | 33 | 132 | 136, [local, remote]) => Ports::Pair { local: *local, remote: *remote },
        (6 | 17 | 33 | 132 | 136, _) => return Err(format!("{name} has ports: SRC DST {name} SPORT DPORT")),
        (_, []) => Ports::None,
        _ => return Err(format!("{name} has no ports: SRC DST {name}")),
    };
    let direction = Direction::Outbound;
    Ok(Flow { direction, local: source, remote: destination, protocol: pattern.protocol, ports })
}

/// Explains what happens to a packet of `flow`. Where no policy knows it from here to there, it is looked at as one
/// that comes from there.
pub fn explain(inspection: &Inspection, flow: &Flow) -> Explanation {
    let reversed = reversed(flow);
    let find = |flow: &Flow| inspection.policies.find(flow).cloned();
    let (flow, policy) = match (find(flow), find(&reversed)) {
        (Some(policy), _) => (flow, policy),
        (None, Some(policy)) => (&reversed, policy),
        (None, None) => return unknown(inspection, flow),
    };
    let place = inspection.place(&policy).map_or_else(String::new, |place| format!(" ({place})"));
    let mut line = format!("{}{place}: ", policy.name);
    match policy.action {
        Action::Protect(_) => protect(inspection, &policy, flow, line),
        Action::Bypass => {
            line.push_str("bypass");
            let fate = "it goes and comes in the clear".to_owned();
            words(line, "none needed".to_owned(), fate, Some(policy.name), "clear", "clear")
        }
        Action::Discard => {
            line.push_str("discard");
            let filter = inspection.config.gateway.clear_filter;
            let (fate, outbound, inbound) = match (filter, steered(inspection, flow.remote)) {
                (true, _) => ("it is dropped, and so is what comes from there in the clear", "dropped", "dropped"),
                (false, Some(_)) => (
                    "it is dropped; what comes from there in the clear is accepted, as `gateway.clear_filter` is off",
                    "dropped",
                    "clear",
                ),
                (false, None) => (
                    "no route leads it into the tunnel device, and `gateway.clear_filter` is off: it goes and comes \
                     in the clear, past us",
                    "clear",
                    "clear",
                ),
            };
            words(line, "none needed".to_owned(), fate.to_owned(), Some(policy.name), outbound, inbound)
        }
    }
}

fn words(
    policy: String,
    sa: String,
    fate: String,
    name: Option<String>,
    outbound: &'static str,
    inbound_clear: &'static str,
) -> Explanation {
    Explanation { policy, sa, fate, name, outbound, inbound_clear }
}

/// The same packet as the other side sees it: local and remote change places.
fn reversed(flow: &Flow) -> Flow {
    let ports = match flow.ports {
        Ports::Pair { local, remote } => Ports::Pair { local: remote, remote: local },
        other => other,
    };
    let direction = match flow.direction {
        Direction::Outbound => Direction::Inbound,
        Direction::Inbound => Direction::Outbound,
    };
    Flow { direction, local: flow.remote, remote: flow.local, ports, ..*flow }
}

/// `flow` with this host's address, as far as `own` knows one, on the local side; nothing of a packet that never leaves
/// this host.
pub fn seen_from_here(flow: &Flow, own: impl Fn(IpAddr) -> bool) -> Option<Flow> {
    match (own(flow.local), own(flow.remote)) {
        (true, true) => None,
        (false, true) => Some(reversed(flow)),
        (_, false) => Some(*flow),
    }
}

/// What happens to a packet that never leaves this host.
pub fn at_home() -> Explanation {
    let fate = "both addresses are this host's: the kernel delivers it itself, in the clear".to_owned();
    words("none applies".to_owned(), "none needed".to_owned(), fate, None, "clear", "clear")
}

/// No policy selects it: RFC 4301 §5 would have it dropped at the boundary; here the boundary is the tunnel device.
fn unknown(inspection: &Inspection, flow: &Flow) -> Explanation {
    let tun = &inspection.status.tun;
    let (fate, outbound) = match steered(inspection, flow.remote) {
        Some(policy) => (
            format!("the routes for {} lead it into {tun}, where it is dropped (RFC 4301 §5.1)", policy.name),
            "dropped",
        ),
        None => {
            (format!("no route leads it into {tun}: this host sends and receives it in the clear, past us"), "clear")
        }
    };
    words("none: no policy selects this packet".to_owned(), "none needed".to_owned(), fate, None, outbound, "clear")
}

/// The policy whose routes lead packets to `remote` into the tunnel device.
fn steered(inspection: &Inspection, remote: IpAddr) -> Option<&Policy> {
    let leads = |policy: &&Policy| {
        let contains = |ts: &TrafficSelector| ts.addresses.contains(remote);
        matches!(policy.action, Action::Protect(_)) && policy.selector.remote.iter().any(contains)
    };
    inspection.policies.iter().find(leads)
}

fn protect(inspection: &Inspection, policy: &Policy, flow: &Flow, mut line: String) -> Explanation {
    let terms = &policy.terms;
    let mode = if terms.mode == Mode::Transport { "transport" } else { "tunnel" };
    let level = |level| if level == cygnet_spd::Level::Use { "use" } else { "require" };
    let (inward, outward) = (level(terms.levels.inbound), level(terms.levels.outbound));
    let _ = match inward == outward {
        true => write!(line, "protect, {mode}, level {outward}"),
        false => write!(line, "protect, {mode}, level {inward} in, {outward} out"),
    };
    let fits = |status: &&PairStatus| status.pair.selector().contains(flow);
    let serving = inspection.pairs_of(policy).filter(fits);
    let sending = serving.filter(|status| status.standing == Standing::Active).last();
    let (sa, state) = match sending {
        Some(status) => (up(inspection, status), SaState::Up),
        None => none(inspection, policy, flow),
    };
    let (out, outbound) = match (terms.outbound(state), sending) {
        (Outcome::Protect, Some(status)) => {
            let (pair, path) = (&status.pair, status.pair.path());
            let carrier = if path.udp_encapsulation { "ESP in UDP" } else { "ESP" };
            (
                format!(
                    "it is protected with SPI {} and sent to {} ({carrier})",
                    pair.outbound_spi(),
                    path.remote.ip()
                ),
                "protected",
            )
        }
        (Outcome::Protect | Outcome::Hold, _) => ("it is held until the SA is up".to_owned(), "held"),
        (Outcome::Clear, _) => ("it is sent in the clear".to_owned(), "clear"),
        (Outcome::Drop, _) => ("it is dropped".to_owned(), "dropped"),
    };
    let protected = sending.map_or_else(
        || "an answer is accepted protected once there is an SA".to_owned(),
        |status| format!("its answer is accepted protected with SPI {}", status.pair.inbound_spi()),
    );
    let (clear, inbound_clear) = match terms.inbound_clear() {
        Outcome::Clear => ("in the clear too", "clear"),
        _ if !inspection.config.gateway.clear_filter => ("in the clear too, as `gateway.clear_filter` is off", "clear"),
        _ => ("in the clear it is dropped", "dropped"),
    };
    let fate = format!("{out}; {protected}, {clear}");
    words(line, sa, fate, Some(policy.name.clone()), outbound, inbound_clear)
}

/// The SA that protects it.
fn up(inspection: &Inspection, status: &PairStatus) -> String {
    let pair = &status.pair;
    let (inward, outward, age) = (pair.inbound_spi(), pair.outbound_spi(), since(pair.installed()));
    match inspection.negotiated(status) {
        Some((ike, child)) => {
            let connection = ike.connection.as_ref().map_or("(unnamed)", |connection| &connection.name);
            let (ike, name, id) = (ike.id.0, &child.child.name, child.id.0);
            format!("{connection}[{ike}] {name}{{{id}}}, SPIs {inward} in and {outward} out, up for {age}")
        }
        None => format!("keyed by hand, SPIs {inward} in and {outward} out, up for {age}"),
    }
}

/// Why a packet waits for nothing.
const NO_PACKET: &str = "; not a packet, but a command or the peer brings it up (start_action is none)";

/// Why no SA protects it.
fn none(inspection: &Inspection, policy: &Policy, flow: &Flow) -> (String, SaState) {
    if inspection.pairs_of(policy).any(|status| status.pair.selector().contains(flow)) {
        return ("one that receives only: the peer did not show yet that it has it".to_owned(), SaState::Negotiating);
    }
    let others = inspection.pairs_of(policy).count();
    match inspection.missing(policy, flow.remote) {
        Missing::Negotiating => ("none yet: it is being negotiated".to_owned(), SaState::Negotiating),
        Missing::Failed(failed, wait) => {
            let mut text = format!("none: the negotiation {}", failure(failed.as_ref()));
            match wait {
                Some(wait) => text.push_str(&format!("; the next attempt is due in {}", span(wait))),
                None if policy.terms.acquire == Acquire::Other => text.push_str(NO_PACKET),
                // Nobody waits: the next packet asks again.
                None => text.push_str("; the next packet asks again"),
            }
            (text, if wait.is_some() { SaState::Failed } else { SaState::Negotiating })
        }
        Missing::NotAsked if others > 0 => {
            (format!("none for this packet; {others} of this policy for others"), SaState::Negotiating)
        }
        Missing::NotAsked if policy.terms.acquire == Acquire::Other => {
            (format!("none: no connection is up{NO_PACKET}"), SaState::Failed)
        }
        Missing::NotAsked => {
            ("none: no connection is up; this packet would ask for one".to_owned(), SaState::Negotiating)
        }
    }
}

/// `failed 3s ago: REASON`.
pub(super) fn failure(failed: Option<&Failed>) -> String {
    match failed {
        Some(Failed { at, reason, .. }) => format!("failed {} ago: {reason}", span(at.elapsed())),
        None => "failed".to_owned(),
    }
}

#[cfg(test)]
mod tests;
