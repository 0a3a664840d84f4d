//! Which SA a command means.

use std::sync::Arc;

use cygnet_spd::{Flow, PolicyId};

use super::{Endpoint, Now};
use crate::command::Command;
use crate::config::{Child, Config, Connection, StartAction};
use crate::event::{DownReason, Event, Failure, FailureCause};
use crate::exchange::Task;
use crate::exchange::wish::Wish;
use crate::output::{IkeSaId, Path};
use crate::sa::IkeSa;

impl Endpoint {
    /// Carries out a command, or starts to.
    pub fn handle_command(&mut self, now: Now, command: Command) {
        self.cx.now = now;
        match command {
            Command::Initiate { connection, child } => self.initiate(&connection, child.as_deref()),
            Command::Acquire { policy, flow } => self.acquire(policy, flow),
            Command::RekeyIke(id) => self.with_sa(id, |sa, cx| sa.push(cx, Task::RekeyIke)),
            Command::RekeyChild(child) => {
                let Some(id) = self.cx.owner(child) else { return };
                self.with_sa(id, |sa, cx| sa.push(cx, Task::RekeyChild(child)));
            }
            Command::DeleteIke(id) => self.delete_ike(id),
            Command::DeleteChild(child) => {
                let Some(id) = self.cx.owner(child) else { return };
                if let Some((connection, name)) = self.sas.get(&id).and_then(|sa| sa.names_of(child)) {
                    self.upkeep.want(&connection.name, Some(&name), false);
                }
                self.with_sa(id, |sa, cx| sa.push(cx, Task::DeleteChild(child, DownReason::Command)));
            }
            Command::ExpireChild(child) => {
                let Some(id) = self.cx.owner(child) else { return };
                self.with_sa(id, |sa, cx| sa.push(cx, Task::DeleteChild(child, DownReason::Expired)));
            }
            Command::ChildUsed(child) => {
                let Some(id) = self.cx.owner(child) else { return };
                self.with_sa(id, |sa, cx| sa.child_used(cx, child));
            }
            Command::PeerAlive(id) => self.with_sa(id, IkeSa::heard),
            Command::Reconfigure(config) => self.reconfigure(*config),
            Command::Shutdown => {
                self.stopping = true;
                self.upkeep.stop();
                let all: Vec<IkeSaId> = self.sas.keys().copied().collect();
                for id in all {
                    self.with_sa(id, |sa, cx| sa.close(cx, DownReason::Command));
                }
            }
        }
    }

    fn reconfigure(&mut self, config: Config) {
        let Config { ike_port, nat_port, raw_esp, .. } = self.cx.config;
        self.cx.config = Config { ike_port, nat_port, raw_esp, ..config };
        self.cx.epoch += 1;
        let config = &self.cx.config;
        self.admission.set_bounds(config.cookie_threshold, config.max_half_open);
        if !self.stopping {
            self.upkeep.reconfigure(config, self.cx.now.instant);
        }
        for connection in config.connections.clone() {
            self.cx.changed(&connection);
        }
        let all: Vec<IkeSaId> = self.sas.keys().copied().collect();
        for id in all {
            self.with_sa(id, IkeSa::reconfigure);
        }
        self.apply_effects();
    }

    fn delete_ike(&mut self, id: IkeSaId) {
        let Some(sa) = self.sas.get(&id) else { return };
        if let Some(connection) = sa.connection() {
            // Other SAs of the connection may still serve its children: those stay wanted.
            let served_elsewhere = |child: &Child| {
                self.sas
                    .values()
                    .any(|other| other.id() != id && other.is_of(&connection.name) && other.serves(&child.name))
            };
            let unwanted: Vec<&Arc<Child>> = connection.children.iter().filter(|c| !served_elsewhere(c)).collect();
            for child in unwanted {
                self.upkeep.want(&connection.name, Some(&child.name), false);
            }
        }
        self.with_sa(id, |sa, cx| sa.close(cx, DownReason::Command));
    }

    fn initiate(&mut self, connection: &str, child: Option<&str>) {
        let found = self.cx.config.connections.iter().find(|c| c.name == connection).cloned();
        let Some(found) = found else {
            let cause = "there is no such connection".to_owned();
            return self.cannot(connection, child, cause, "name a configured connection");
        };
        let children: Vec<Arc<Child>> = match child {
            Some(name) => found.children.iter().filter(|c| c.name == name).cloned().collect(),
            None => {
                let start = found.children.iter().filter(|c| c.start == StartAction::Start);
                let start: Vec<_> = start.cloned().collect();
                if start.is_empty() { found.children.first().cloned().into_iter().collect() } else { start }
            }
        };
        if children.is_empty() {
            return self.cannot(connection, child, "there is no such child".to_owned(), "name a configured child");
        }
        self.upkeep.want(connection, child, true);
        self.bring_up(&found, children, None);
    }

    fn acquire(&mut self, policy: PolicyId, flow: Flow) {
        let serves =
            |c: &Arc<Connection>| Some((c.clone(), c.children.iter().find(|child| child.policy == policy)?.clone()));
        let Some((connection, child)) = self.cx.config.connections.iter().find_map(serves) else { return };
        let wish = Wish::new(child.clone(), Some(flow));
        let under_way = |sa: &IkeSa| sa.is_of(&connection.name) && sa.expects_for(&wish);
        if !self.sas.values().any(under_way) {
            self.bring_up(&connection, vec![child], Some(flow));
        }
    }

    /// Negotiates `children`, on the connection's IKE SA if it has one. What is up or coming is left alone.
    pub(super) fn bring_up(&mut self, connection: &Arc<Connection>, children: Vec<Arc<Child>>, flow: Option<Flow>) {
        if self.stopping {
            return;
        }
        let usable = self.sas.values().filter(|sa| sa.is_of(&connection.name) && sa.takes_children());
        if let Some(id) = usable.map(IkeSa::id).next_back() {
            return self.with_sa(id, |sa, cx| {
                for child in children {
                    sa.want(cx, Wish::new(child, flow));
                }
            });
        }
        let Some(path) = self.dial(connection) else {
            let cause = format!("no address to dial: remote_addrs is {}", list(&connection.remote_addrs));
            return self.cannot(&connection.name, None, cause, "give remote_addrs one single address");
        };
        let wanted = children.into_iter().map(|child| Wish::new(child, flow)).collect();
        let sa = IkeSa::initiate(&mut self.cx, connection.clone(), path, wanted);
        if let Some(sa) = sa {
            self.insert(sa);
        }
    }

    /// From and to where an initiator sends.
    fn dial(&self, connection: &Connection) -> Option<Path> {
        let remote = connection.remote_addrs.iter().find(|range| range.is_host())?.start();
        let any: std::net::IpAddr = match remote {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let local = connection.local_addrs.iter().find(|ip| ip.is_ipv4() == remote.is_ipv4()).copied().unwrap_or(any);
        let port = self.cx.config.ike_port;
        Some(Path { local: (local, port).into(), remote: (remote, port).into(), marker: false })
    }

    fn cannot(&mut self, connection: &str, child: Option<&str>, cause: String, remedy: &str) {
        let nowhere = (std::net::Ipv4Addr::UNSPECIFIED, 0).into();
        self.cx.event(Event::Failed(Failure {
            connection: Some(connection.to_owned()),
            child: child.map(str::to_owned),
            ike: None,
            path: Path { local: nowhere, remote: nowhere, marker: false },
            cause: FailureCause::NoConnection,
            offered: cause,
            wanted: format!("one of {}", list(self.cx.config.connections.iter().map(|c| &c.name))),
            remedy: remedy.to_owned(),
        }));
    }
}

/// `a, b, c`, or `nothing`.
fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}
