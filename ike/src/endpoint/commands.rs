//! Which SA a command means.

use std::sync::Arc;

use cygnet_spd::{Flow, Mode, PolicyId};

use super::way::{Undialled, Way};
use super::{Endpoint, Now};
use crate::command::Command;
use crate::config::{Child, Config, Connection, StartAction};
use crate::event::{DownReason, Event, Failure, FailureCause};
use crate::exchange::Task;
use crate::exchange::per_resource;
use crate::exchange::wish::Wish;
use crate::limits::{DIALLING, DIALLING_PATIENCE, OFFENDING_PACKET};
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
            Command::AddResource { child, resource } => {
                let Some(id) = self.cx.owner(child) else { return };
                self.with_sa(id, |sa, cx| per_resource::want(cx, sa, child, resource));
            }
            Command::DeleteIke(id) => self.delete_ike(id),
            Command::DeleteChild(child) => {
                let Some(id) = self.cx.owner(child) else { return };
                // While others with its selectors stay, the child is as wanted as before.
                let last = |sa: &&IkeSa| !per_resource::is_beside_others(sa, child);
                if let Some((connection, name)) = self.sas.get(&id).filter(last).and_then(|sa| sa.names_of(child)) {
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
            Command::InvalidSelectors { child, mut packet } => {
                let Some(id) = self.cx.owner(child) else { return };
                packet.truncate(OFFENDING_PACKET);
                self.with_sa(id, |sa, cx| sa.push(cx, Task::InvalidSelectors(child, packet)));
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
        let Config { ike_port, nat_port, raw_esp, workers, .. } = self.cx.config;
        self.cx.config = Config { ike_port, nat_port, raw_esp, workers, ..config };
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
            // Other SAs of the connection may still serve its children: those stay wanted. So do those of another peer.
            let stays_wanted = |child: &Child| {
                let serves =
                    |other: &IkeSa| other.id() != id && other.is_of(&connection.name) && other.serves(&child.name);
                self.sas.values().any(serves) || !Way::upkeep(&connection, child).is_of(sa)
            };
            let unwanted: Vec<&Arc<Child>> = connection.children.iter().filter(|c| !stays_wanted(c)).collect();
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
        self.bring_up(&found, children, None, Way::configured());
    }

    fn acquire(&mut self, policy: PolicyId, flow: Flow) {
        let serves =
            |c: &Arc<Connection>| Some((c.clone(), c.children.iter().find(|child| child.policy == policy)?.clone()));
        let Some((connection, child)) = self.cx.config.connections.iter().find_map(serves) else { return };
        let way = match Way::of(&self.cx.config, &connection, &child, &flow) {
            Ok(way) => way,
            Err(Undialled::Own) => return,
            Err(Undialled::Foreign(what)) => {
                let wanted = format!("addresses of {}", connection.name);
                let remedy = "widen `local_addrs` or `remote_addrs`, or let the policy select less".to_owned();
                return self.not_dialled(
                    &connection,
                    &child,
                    &flow,
                    FailureCause::NoConnection,
                    [what, wanted, remedy],
                );
            }
        };
        let wish = Wish::new(child.clone(), Some(flow));
        let under_way = |sa: &IkeSa| sa.is_of(&connection.name) && way.is_of(sa) && sa.expects_for(&wish);
        if !self.sas.values().any(under_way) {
            self.bring_up(&connection, vec![child], Some(flow), way);
        }
    }

    /// Negotiates `children`, on the connection's IKE SA with the same peer if there is one. What is up or coming is left
    /// alone.
    pub(super) fn bring_up(
        &mut self,
        connection: &Arc<Connection>,
        children: Vec<Arc<Child>>,
        flow: Option<Flow>,
        way: Way,
    ) {
        if self.stopping {
            return;
        }
        let usable = self.sas.values().filter(|sa| sa.is_of(&connection.name) && way.is_of(sa) && sa.takes_children());
        if let Some(id) = usable.map(IkeSa::id).next_back() {
            return self.with_sa(id, |sa, cx| {
                for child in children {
                    sa.want(cx, Wish::new(child, flow));
                }
            });
        }
        let Some(path) = way.path(self.cx.config.ike_port, connection) else {
            let cause = format!("no single address to dial: remote_addrs is {}", list(&connection.remote_addrs));
            let remedy = match children.iter().any(|child| child.mode == Mode::Transport) {
                true => "send traffic: it brings up an SA with each peer of these addresses that it goes to",
                false => "give remote_addrs one single address",
            };
            return self.cannot(&connection.name, None, cause, remedy);
        };
        if let Some(flow) = flow.filter(|_| !self.may_dial()) {
            let what = format!("{} peers that have not answered yet", DIALLING);
            let remedy = "let the policy select only addresses of peers, or wait".to_owned();
            let why = [what, "fewer at once".to_owned(), remedy];
            return self.not_dialled(connection, &children[0], &flow, FailureCause::Limit, why);
        }
        let wanted = children.into_iter().map(|child| Wish::new(child, flow)).collect();
        let sa = IkeSa::initiate(&mut self.cx, connection.clone(), path, wanted);
        if let Some(sa) = sa {
            self.insert(sa);
        }
    }

    /// Whether one more peer may be dialled for traffic: perhaps in place of one that had time enough to answer.
    fn may_dial(&mut self) -> bool {
        let silent: Vec<&IkeSa> = self.sas.values().filter(|sa| sa.is_dialling()).collect();
        if silent.len() < DIALLING {
            return true;
        }
        let Some(oldest) = silent.into_iter().min_by_key(|sa| sa.created()) else { return true };
        let (id, waited) = (oldest.id(), self.cx.now.instant.saturating_duration_since(oldest.created()));
        if waited < DIALLING_PATIENCE {
            return false;
        }
        self.with_sa(id, IkeSa::give_up);
        true
    }

    /// Says once why traffic brings up nothing.
    fn not_dialled(&mut self, of: &Connection, child: &Child, flow: &Flow, cause: FailureCause, why: [String; 3]) {
        let [offered, wanted, remedy] = why;
        let at = |ip| (ip, self.cx.config.ike_port).into();
        let failure = Failure {
            connection: Some(of.name.clone()),
            child: Some(child.name.clone()),
            ike: None,
            path: Path { local: at(flow.local), remote: at(flow.remote), marker: false },
            cause,
            offered,
            wanted,
            remedy,
            by_stranger: false,
            repeated: false,
        };
        self.cx.failed(failure);
    }

    fn cannot(&mut self, connection: &str, child: Option<&str>, cause: String, remedy: &str) {
        let nowhere = (std::net::Ipv4Addr::UNSPECIFIED, 0).into();
        // A command is answered, however often it is given.
        self.cx.event(Event::Failed(Failure {
            connection: Some(connection.to_owned()),
            child: child.map(str::to_owned),
            ike: None,
            path: Path { local: nowhere, remote: nowhere, marker: false },
            cause: FailureCause::NoConnection,
            offered: cause,
            wanted: format!("one of {}", list(self.cx.config.connections.iter().map(|c| &c.name))),
            remedy: remedy.to_owned(),
            by_stranger: false,
            repeated: false,
        }));
    }
}

/// `a, b, c`, or `nothing`.
fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}
