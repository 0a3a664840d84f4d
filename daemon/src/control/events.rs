//! What happens, as vici events. Each is rendered once, however many clients registered for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cygnet_ike::status::{IkeState, IkeStatus};
use cygnet_ike::{ChildId, IkeSaId};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::warn;

use super::render;
use super::vici::{Message, Packet};
use crate::handle::{Handle, Notice, Traffic};
use crate::narrate::{self, Line};
use crate::workers::AuditEvent;

/// Events that come by themselves.
pub(super) const PUBLISHED: [&str; 6] = ["log", "ike-updown", "child-updown", "ike-rekey", "child-rekey", "audit"];

/// Events that are the results of a command, for the client that gave it.
const STREAMED: [&str; 7] =
    ["list-sa", "list-conn", "list-policy", "list-sad", "list-spd", "policy-readiness", "control-log"];

/// An event, ready to send.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) name: &'static str,
    pub(super) packet: Arc<[u8]>,
}

/// The event called `name`, if there is one.
pub(super) fn known(name: &str) -> Option<&'static str> {
    PUBLISHED.into_iter().chain(STREAMED).find(|known| *known == name)
}

/// Turns notices into events until the gateway stops.
pub(super) async fn publish(handle: Handle, subscribers: broadcast::Sender<Arc<Published>>) {
    let mut notices = handle.events();
    drop(handle);
    let mut memory = BTreeMap::new();
    loop {
        let notice = match notices.recv().await {
            Ok(notice) => notice,
            Err(RecvError::Lagged(missed)) => {
                warn!(missed, "events came faster than they could be published");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        for (name, details) in events(&notice, &mut memory) {
            match (Packet::Event { name: name.to_owned(), details }).encode() {
                Ok(packet) => {
                    // No subscriber is no error.
                    let _ = subscribers.send(Arc::new(Published { name, packet: packet.into() }));
                }
                Err(error) => warn!(event = name, %error, "an event was too large to publish"),
            }
        }
        if matches!(*notice, Notice::Stopping) {
            return;
        }
    }
}

/// The events for one notice. `memory` holds the last state of each IKE SA, to show what a rekey replaced.
fn events(notice: &Notice, memory: &mut BTreeMap<IkeSaId, IkeStatus>) -> Vec<(&'static str, Message)> {
    let mut events: Vec<_> = narrate::lines(notice).iter().map(|line| ("log", log(line))).collect();
    match notice {
        Notice::IkeUp(ike) => events.push(("ike-updown", updown(true, ike, render::ike(ike)))),
        Notice::IkeRekeyed { old, new } => {
            let mut section = Message::new();
            if let Some(old) = memory.get(old) {
                section = section.with_section("old", render::ike(old));
            }
            section = section.with_section("new", render::ike(new));
            events.push(("ike-rekey", Message::new().with_section(render::name(new), section)));
        }
        Notice::IkeDown { last: Some(last), .. } => {
            let mut last = last.clone();
            last.state = IkeState::Deleting;
            events.push(("ike-updown", updown(false, &last, render::ike(&last))));
        }
        Notice::ChildUp { child, ike } => {
            events.push(("child-updown", updown(true, ike, with_child(ike, *child, &Traffic::default()))));
        }
        Notice::ChildRekeyed { old, new, ike } => {
            let find = |id: ChildId| {
                let before = memory.get(&ike.id).into_iter().flat_map(|ike| &ike.children);
                ike.children.iter().chain(before).find(|child| child.id == id)
            };
            let mut pair = Message::new();
            for (key, id) in [("old", old), ("new", new)] {
                if let Some(child) = find(*id) {
                    pair = pair.with_section(key, render::child(child, &Traffic::default()));
                }
            }
            let name = find(*new).map_or_else(String::new, |child| child.child.name.clone());
            let section = render::ike(ike).with_section("child-sas", Message::new().with_section(name, pair));
            events.push(("child-rekey", Message::new().with_section(render::name(ike), section)));
        }
        Notice::ChildDown { child, last: Some(last), traffic, .. } => {
            events.push(("child-updown", updown(false, last, with_child(last, *child, traffic))));
        }
        Notice::Audit { event, policy } => events.push(("audit", audit(event, policy.as_deref()))),
        _ => {}
    }
    remember(notice, memory);
    events
}

fn remember(notice: &Notice, memory: &mut BTreeMap<IkeSaId, IkeStatus>) {
    match notice {
        Notice::IkeUp(ike) | Notice::ChildUp { ike, .. } | Notice::ChildRekeyed { ike, .. } => {
            memory.insert(ike.id, (**ike).clone());
        }
        Notice::IkeRekeyed { new, .. } => {
            memory.insert(new.id, (**new).clone());
        }
        Notice::IkeDown { ike, .. } => {
            memory.remove(ike);
        }
        _ => {}
    }
}

/// `up` is absent, not `no`, when an SA went down.
fn updown(up: bool, ike: &IkeStatus, section: Message) -> Message {
    let message = if up { Message::new().with("up", "yes") } else { Message::new() };
    message.with_section(render::name(ike), section)
}

/// The IKE SA with one of its children.
fn with_child(ike: &IkeStatus, child: ChildId, traffic: &Traffic) -> Message {
    let children = ike.children.iter().filter(|status| status.id == child);
    render::ike(ike).with_section("child-sas", render::children(children, |_| *traffic))
}

/// A packet that was discarded, as far as it is known. An event of our own.
fn audit(event: &AuditEvent, policy: Option<&str>) -> Message {
    let mut message = Message::new().with("reason", event.reason.name()).with("msg", event);
    if let Some(policy) = policy {
        message.set("policy", policy);
    }
    if let Some(flow) = &event.flow {
        let (local, remote) = flow.selectors();
        message = message.with("local-ts", local).with("remote-ts", remote);
    }
    if let Some(peer) = event.peer {
        message.set("remote-host", peer);
    }
    if let Some(spi) = event.spi {
        message.set("spi", spi);
    }
    if let Some(sequence) = event.sequence {
        message.set("sequence", sequence);
    }
    message.with("suppressed", event.suppressed)
}

/// A line of the log as strongSwan's clients expect it.
fn log(line: &Line) -> Message {
    let mut message = Message::new().with("group", line.group).with("level", line.level).with("thread", 1);
    if let (Some(name), Some(id)) = (&line.connection, line.ike) {
        message.set("ikesa-name", name);
        message.set("ikesa-uniqueid", id);
    }
    message.with("msg", &line.text)
}

/// The same for the client that waits for a command.
pub(super) fn control_log(line: &Line) -> Message {
    log(line)
}
