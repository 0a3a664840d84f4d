//! SAs and connections as vici messages, with strongSwan's keys, names and units.

use std::time::{Duration, Instant};

use cygnet_esp::Encr;
use cygnet_ike::config::{Child, Connection, LocalAuth, PeerAuth, StartAction};
use cygnet_ike::crypto::kex::Kex;
use cygnet_ike::crypto::prf::Prf;
use cygnet_ike::status::{ChildState, ChildStatus, IkeState, IkeStatus};
use cygnet_ike::{ChildId, Resource};
use cygnet_spd::Mode;

use super::vici::{Message, Value};
use crate::handle::Traffic;

/// The name that stands before an IKE SA.
pub(super) fn name(ike: &IkeStatus) -> String {
    ike.connection.as_ref().map_or_else(|| "(unnamed)".to_owned(), |connection| connection.name.clone())
}

/// An IKE SA without its children.
pub(super) fn ike(ike: &IkeStatus) -> Message {
    let state = match ike.state {
        IkeState::Connecting => "CONNECTING",
        IkeState::Established => "ESTABLISHED",
        IkeState::Rekeying => "REKEYING",
        IkeState::Deleting => "DELETING",
    };
    let id = |id: &Option<cygnet_ike::identity::Identity>| id.as_ref().map_or("%any".to_owned(), ToString::to_string);
    let mut message = Message::new()
        .with("uniqueid", ike.id.0)
        .with("version", 2)
        .with("state", state)
        .with("local-host", ike.path.local.ip())
        .with("local-port", ike.path.local.port())
        .with("local-id", id(&ike.local_id))
        .with("remote-host", ike.path.remote.ip())
        .with("remote-port", ike.path.remote.port())
        .with("remote-id", id(&ike.remote_id));
    flag(&mut message, "initiator", ike.initiator);
    message.set("initiator-spi", format_args!("{:016x}", ike.spi_i.0));
    message.set("responder-spi", format_args!("{:016x}", ike.spi_r.0));
    flag(&mut message, "nat-local", ike.nat.local);
    flag(&mut message, "nat-remote", ike.nat.remote);
    flag(&mut message, "nat-fake", ike.nat.faked);
    flag(&mut message, "nat-any", ike.nat.local || ike.nat.remote || ike.nat.faked);
    if let Some(algorithms) = &ike.algorithms {
        cipher(&mut message, algorithms.encr);
        message.set("prf-alg", Prf::by_id(algorithms.prf).map_or("UNKNOWN", |prf| prf.name));
        message.set("dh-group", group(algorithms.group));
    }
    let now = Instant::now();
    if let Some(established) = ike.established {
        message.set("established", now.saturating_duration_since(established).as_secs());
    }
    left(&mut message, "rekey-time", ike.rekey_at, now);
    if let Some(task) = ike.active_task {
        message = message.with_list("tasks-active", [task]);
    }
    if !ike.queued_tasks.is_empty() {
        message = message.with_list("tasks-queued", &ike.queued_tasks);
    }
    message
}

/// A section with each of `children` under its unique name.
pub(super) fn children<'a>(
    children: impl IntoIterator<Item = &'a ChildStatus>,
    traffic: impl Fn(ChildId) -> Traffic,
) -> Message {
    let mut section = Message::new();
    for status in children {
        let unique = format!("{}-{}", status.child.name, status.id.0);
        section.push(unique, Value::Section(child(status, &traffic(status.id))));
    }
    section
}

/// A Child SA.
pub(super) fn child(status: &ChildStatus, traffic: &Traffic) -> Message {
    let state = match status.state {
        ChildState::Installed => "INSTALLED",
        ChildState::Rekeying => "REKEYING",
        ChildState::Rekeyed => "REKEYED",
        ChildState::Deleting => "DELETING",
    };
    let mut message = Message::new()
        .with("name", &status.child.name)
        .with("uniqueid", status.id.0)
        .with("reqid", u64::from(status.child.policy.0) + 1)
        .with("state", state)
        .with("mode", mode(status.child.mode))
        .with("protocol", "ESP");
    flag(&mut message, "encap", status.udp_encapsulation);
    message.set("spi-in", format_args!("{:08x}", status.spi_in.0));
    message.set("spi-out", format_args!("{:08x}", status.spi_out.0));
    cipher(&mut message, status.encr);
    if let Some(id) = status.group {
        message.set("dh-group", group(id));
    }
    if status.esn {
        message.set("esn", 1);
    }
    if let Some(Resource { number, .. }) = status.resource {
        message.set("per-cpu-sas", "yes");
        if let Some(number) = number {
            message.set("cpu", number);
        }
    }
    message.set("bytes-in", traffic.octets_in);
    message.set("packets-in", traffic.packets_in);
    if let Some(idle) = traffic.idle_in {
        message.set("use-in", idle.as_secs());
    }
    message.set("bytes-out", traffic.octets_out);
    message.set("packets-out", traffic.packets_out);
    if let Some(idle) = traffic.idle_out {
        message.set("use-out", idle.as_secs());
    }
    let now = Instant::now();
    left(&mut message, "rekey-time", status.rekey_at, now);
    left(&mut message, "life-time", status.expires_at, now);
    message.set("install-time", now.saturating_duration_since(status.installed).as_secs());
    message.with_list("local-ts", &status.local_ts).with_list("remote-ts", &status.remote_ts)
}

/// A configured connection.
pub(super) fn connection(connection: &Connection) -> Message {
    let any = |list: Vec<String>| if list.is_empty() { vec!["%any".to_owned()] } else { list };
    let local = match connection.local.auth {
        LocalAuth::Psk(_) => "pre-shared key",
        LocalAuth::Certificate(_) => "public key",
    };
    let remote = match connection.peer.auth {
        PeerAuth::Psk(_) => "pre-shared key",
        PeerAuth::Certificate(_) => "public key",
    };
    let mut children = Message::new();
    for template in &connection.children {
        children.push(template.name.clone(), Value::Section(child_template(template)));
    }
    let proposals = connection.proposals.iter().map(ToString::to_string);
    Message::new()
        .with_list("local_addrs", any(connection.local_addrs.iter().map(ToString::to_string).collect()))
        .with_list("remote_addrs", any(connection.remote_addrs.iter().map(ToString::to_string).collect()))
        .with("version", "IKEv2")
        .with("reauth_time", 0)
        .with("rekey_time", seconds(connection.rekey_time))
        .with("unique", "UNIQUE_NO")
        .with("dpd_delay", seconds(connection.dpd_delay))
        .with_list("proposals", proposals)
        .with_section("local-1", Message::new().with("class", local).with("id", &connection.local.id))
        .with_section("remote-1", Message::new().with("class", remote).with("id", &connection.peer.id))
        .with_section("children", children)
}

fn child_template(child: &Child) -> Message {
    let start = match child.start {
        StartAction::None => "none",
        StartAction::Trap => "trap",
        StartAction::Start => "start",
    };
    Message::new()
        .with("mode", mode(child.mode))
        .with("rekey_time", seconds(child.lifetime.rekey_time))
        .with("rekey_bytes", child.lifetime.rekey_bytes.unwrap_or(0))
        .with("rekey_packets", child.lifetime.rekey_packets.unwrap_or(0))
        .with("start_action", start)
        .with("dpd_action", "clear")
        .with("close_action", "clear")
        .with_list("esp_proposals", child.proposals.iter().map(ToString::to_string))
        .with_list("local-ts", &child.local_ts)
        .with_list("remote-ts", &child.remote_ts)
}

/// strongSwan's name of a mode.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Tunnel => "TUNNEL",
        Mode::Transport => "TRANSPORT",
    }
}

pub(super) fn cipher(message: &mut Message, encr: &Encr) {
    message.set("encr-alg", encr.iana_name);
    if let Some(bits) = encr.key_bits {
        message.set("encr-keysize", bits);
    }
    if let Some(integ) = encr.iana_integ_name {
        message.set("integ-alg", integ);
    }
}

fn group(id: u16) -> &'static str {
    Kex::by_id(id).map_or("UNKNOWN", |kex| kex.name)
}

/// `yes`, or nothing at all.
pub(super) fn flag(message: &mut Message, name: &str, set: bool) {
    if set {
        message.set(name, "yes");
    }
}

/// Seconds until `at`, if there is such a time.
fn left(message: &mut Message, name: &str, at: Option<Instant>, now: Instant) {
    if let Some(at) = at {
        message.set(name, at.saturating_duration_since(now).as_secs());
    }
}

fn seconds(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |duration| duration.as_secs())
}
