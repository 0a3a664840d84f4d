//! Policies and SAs in full, and what follows from them for a packet: `list-policies` as strongSwan has it, and
//! commands of our own. Entries come as events of the command's name.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use cygnet_sad::{InboundDrop, Limits, Origin, OutboundDrop, PairStatus, Resource, Standing};
use cygnet_spd::{Action, AfterFailure, Level, Pfp, Policy, WhileNegotiating};

use super::commands::outcome;
use super::render::{cipher, flag, mode};
use super::server::Session;
use super::vici::{Message, Value};
use crate::inspect::Inspection;
use crate::inspect::explain::{Explanation, at_home, explain, flow, seen_from_here};
use crate::inspect::readiness::{Readiness, readiness};

/// The gateway at this moment, for `then`.
async fn inspect(session: &Session, then: impl AsyncFnOnce(Inspection) -> Message) -> Message {
    match session.shared.handle.inspect().await {
        Ok(inspection) => then(inspection).await,
        Err(stopped) => outcome(Err(stopped.to_string())),
    }
}

/// `list-policies`: strongSwan's traps are our protecting policies, its shunts the others.
pub(super) async fn list_policies(session: &Session, arguments: &Message) -> Message {
    inspect(session, async |inspection| {
        let kinds = ["trap", "drop", "pass"].map(|kind| arguments.flag(kind));
        // Nothing asked for is everything.
        let wants = |kind: usize| kinds[kind] || !kinds.contains(&true);
        for policy in inspection.policies.iter() {
            let (ike, child) = policy.name.split_once('/').unwrap_or(("", &policy.name));
            let (kind, mode) = match policy.action {
                Action::Protect(_) => (0, mode(policy.terms.mode)),
                Action::Discard => (1, "DROP"),
                Action::Bypass => (2, "PASS"),
            };
            let named = |key, name| arguments.text(key).is_none_or(|wanted| wanted == name);
            if wants(kind) && named("ike", ike) && named("child", child) {
                let mut entry = Message::new().with("child", child);
                if !ike.is_empty() {
                    entry.set("ike", ike);
                }
                let entry = entry.with("mode", mode);
                let entry = with_selectors(entry, policy);
                session.stream("list-policy", Message::new().with_section(policy.name.clone(), entry)).await;
            }
        }
        Message::new()
    })
    .await
}

fn with_selectors(message: Message, policy: &Policy) -> Message {
    message.with_list("local-ts", &policy.selector.local).with_list("remote-ts", &policy.selector.remote)
}

/// `list-spd`: every policy in its order.
pub(super) async fn list_spd(session: &Session) -> Message {
    inspect(session, async |inspection| {
        for (n, policy) in (1_usize..).zip(inspection.policies.iter()) {
            let entry = spd_entry(&inspection, n, policy);
            session.stream("list-spd", Message::new().with_section(policy.name.clone(), entry)).await;
        }
        Message::new()
    })
    .await
}

fn spd_entry(inspection: &Inspection, position: usize, policy: &Policy) -> Message {
    let action = match policy.action {
        Action::Protect(_) => "protect",
        Action::Bypass => "bypass",
        Action::Discard => "discard",
    };
    let mut entry = Message::new().with("position", position).with("action", action);
    if let Some(place) = inspection.place(policy) {
        entry.set("place", place);
    }
    if let Action::Protect(id) = policy.action {
        let terms = &policy.terms;
        let level = |level| if level == Level::Use { "use" } else { "require" };
        let waiting = match terms.negotiating {
            WhileNegotiating::Hold => "hold",
            WhileNegotiating::Drop => "drop",
            WhileNegotiating::Clear => "clear",
        };
        let failed = if terms.failed == AfterFailure::Drop { "drop" } else { "clear" };
        entry = entry
            .with("reqid", u64::from(id.0) + 1)
            .with("mode", mode(terms.mode))
            .with("level-in", level(terms.levels.inbound))
            .with("level-out", level(terms.levels.outbound))
            .with("while-negotiating", waiting)
            .with("after-failure", failed);
        let pfp = populated(&terms.pfp);
        if !pfp.is_empty() {
            entry = entry.with_list("pfp", pfp);
        }
        let sum = |of: fn(&PairStatus) -> u64| inspection.pairs_of(policy).map(of).sum::<u64>();
        entry.set("sas", inspection.pairs_of(policy).filter(|status| status.standing == Standing::Active).count());
        entry.set("packets-in", sum(|status| status.inbound.packets));
        entry.set("bytes-in", sum(|status| status.inbound.octets));
        entry.set("packets-out", sum(|status| status.outbound.packets));
        entry.set("bytes-out", sum(|status| status.outbound.octets));
        let used = inspection.pairs_of(policy).flat_map(|status| [status.inbound.last_used, status.outbound.last_used]);
        if let Some(at) = used.flatten().max() {
            entry.set("use", at.elapsed().as_secs());
        }
        if let Some(cleared) = inspection.cleared.get(&id) {
            entry.set("clear-packets-out", cleared.packets);
            entry.set("clear-bytes-out", cleared.octets);
        }
    }
    if let Some(counts) = inspection.filtered.as_ref().and_then(|seen| seen.packets.get(&policy.name)) {
        entry.set("clear-packets-in", counts.accepted);
        entry.set("clear-dropped-in", counts.dropped_in);
        if policy.action == Action::Discard {
            entry.set("clear-dropped-out", counts.dropped_out);
        }
    }
    with_selectors(entry, policy)
}

fn populated(pfp: &Pfp) -> Vec<&'static str> {
    let flags = [
        ("local-address", pfp.local_address),
        ("remote-address", pfp.remote_address),
        ("protocol", pfp.protocol),
        ("local-port", pfp.local_port),
        ("remote-port", pfp.remote_port),
    ];
    flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}

/// `list-sad`: every pair of SAs in the order of its installation.
pub(super) async fn list_sad(session: &Session) -> Message {
    inspect(session, async |inspection| {
        for status in &inspection.pairs {
            let policy = inspection.policy(status.pair.policy()).map_or("(gone)", |policy| &policy.name);
            let name = format!("{policy}-{}", status.pair.id().0);
            let entry = sad_entry(&inspection, status, policy);
            session.stream("list-sad", Message::new().with_section(name, entry)).await;
        }
        Message::new()
    })
    .await
}

fn sad_entry(inspection: &Inspection, status: &PairStatus, policy: &str) -> Message {
    let (pair, path, negotiated) = (&status.pair, status.pair.path(), inspection.negotiated(status));
    let mut entry = Message::new()
        .with("policy", policy)
        .with("uniqueid", pair.id().0)
        .with("reqid", u64::from(pair.policy().0) + 1)
        .with("origin", if pair.origin() == Origin::Manual { "manual" } else { "negotiated" })
        .with("state", status.standing.name())
        .with("mode", mode(pair.mode()))
        .with("protocol", "ESP");
    flag(&mut entry, "encap", path.udp_encapsulation);
    for (end, address) in [("local", path.local), ("remote", path.remote)] {
        entry.set(format!("{end}-host"), address.ip());
        if path.udp_encapsulation {
            entry.set(format!("{end}-port"), address.port());
        }
    }
    if let Some(original) = pair.original() {
        entry.set("original-local", original.local);
        entry.set("original-remote", original.remote);
    }
    entry.set("spi-in", pair.inbound_spi());
    entry.set("spi-out", pair.outbound_spi());
    cipher(&mut entry, pair.encr());
    flag(&mut entry, "esn", pair.esn());
    entry.set("replay-window", pair.replay_window());
    if let Some(Resource { group, number }) = pair.resource() {
        entry.set("group", group.0);
        if let Some(number) = number {
            entry.set("resource", number);
        }
    }
    entry.set("sequence-in", status.inbound_sequence);
    entry.set("sequence-out", status.outbound_sequence);
    if let Some(mtu) = pair.inner_mtu() {
        entry.set("inner-mtu", mtu);
    }
    for (way, traffic) in [("in", &status.inbound), ("out", &status.outbound)] {
        entry.set(format!("bytes-{way}"), traffic.octets);
        entry.set(format!("packets-{way}"), traffic.packets);
        if let Some(at) = traffic.last_used {
            entry.set(format!("use-{way}"), at.elapsed().as_secs());
        }
    }
    entry.set("install-time", pair.installed().elapsed().as_secs());
    let now = Instant::now();
    let after = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(pair.installed()));
    let times = negotiated.map(|(_, child)| (after(child.rekey_at), after(child.expires_at)));
    let (soft, hard) = times.unwrap_or((pair.lifetime().soft.time, pair.lifetime().hard.time));
    limits(&mut entry, "soft", &pair.lifetime().soft, soft);
    limits(&mut entry, "hard", &pair.lifetime().hard, hard);
    if let Some(expires) = negotiated.and_then(|(_, child)| child.expires_at) {
        entry.set("life-time", expires.saturating_duration_since(now).as_secs());
    }
    entry.push("drops", Value::Section(drops(status)));
    entry.with_list("local-ts", &pair.selector().local).with_list("remote-ts", &pair.selector().remote)
}

/// Seconds since installation, octets, packets.
fn limits(entry: &mut Message, which: &str, limits: &Limits, time: Option<Duration>) {
    for (unit, limit) in
        [("time", time.map(|time| time.as_secs())), ("bytes", limits.octets), ("packets", limits.packets)]
    {
        if let Some(limit) = limit {
            entry.set(format!("{which}-{unit}"), limit);
        }
    }
}

/// Packets dropped, by reason; only reasons that occurred.
fn drops(status: &PairStatus) -> Message {
    let inbound = InboundDrop::ALL.iter().map(|&drop| (format!("in-{}", drop.name()), status.pair.inbound_drops(drop)));
    let outbound =
        OutboundDrop::ALL.iter().map(|&drop| (format!("out-{}", drop.name()), status.pair.outbound_drops(drop)));
    let mut section = Message::new();
    for (name, count) in inbound.chain(outbound).filter(|(_, count)| *count > 0) {
        section.set(name.replace('_', "-"), count);
    }
    section
}

/// `explain-flow {flow=[SRC DST PROTO SPORT DPORT]}`.
pub(super) async fn explain_flow(session: &Session, arguments: &Message) -> Message {
    let flow = match flow(&arguments.list("flow")) {
        Ok(flow) => flow,
        Err(reason) => return outcome(Err(reason)),
    };
    // Whoever can bind an address has it.
    let own = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    let flow = seen_from_here(&flow, own);
    inspect(session, async |inspection| {
        let explanation = flow.as_ref().map_or_else(at_home, |flow| explain(&inspection, flow));
        let Explanation { policy, sa, fate, name, outbound, inbound_clear } = explanation;
        let mut answer = outcome(Ok(())).with("policy", policy).with("sa", sa).with("fate", fate);
        if let Some(name) = name {
            answer.set("name", name);
        }
        answer.with("outbound", outbound).with("inbound-clear", inbound_clear)
    })
    .await
}

/// `policy-readiness`: which policies can be switched to `require`, peer by peer.
pub(super) async fn policy_readiness(session: &Session) -> Message {
    inspect(session, async |inspection| {
        for row in readiness(&inspection) {
            let Readiness { policy, required, peer, protected, clear_packets, clear_octets, last_clear, .. } = row;
            let Readiness { sent_clear, last_sent_clear, ready, reason, .. } = row;
            let mut entry = Message::new().with("policy", &policy);
            if let Some(peer) = peer {
                entry.set("peer", peer);
            }
            flag(&mut entry, "required", required);
            if let Some(protected) = protected {
                entry.set("protected-for", protected.as_secs());
            }
            entry.set("clear-packets-in", clear_packets);
            entry.set("clear-bytes-in", clear_octets);
            if let Some(last) = last_clear {
                entry.set("last-clear-in", last.as_secs());
            }
            entry.set("clear-packets-out", sent_clear);
            if let Some(last) = last_sent_clear {
                entry.set("last-clear-out", last.as_secs());
            }
            entry.set("ready", if ready { "yes" } else { "no" });
            let entry = entry.with("reason", reason);
            session.stream("policy-readiness", Message::new().with_section(policy, entry)).await;
        }
        Message::new()
    })
    .await
}
