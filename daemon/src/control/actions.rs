//! Commands that change SAs and wait for the outcome. Error texts begin as strongSwan writes them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cygnet_ike::status::{ChildState, ChildStatus, IkeStatus};
use cygnet_ike::{ChildId, Command, DownReason, IkeSaId};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::commands::outcome;
use super::events;
use super::server::Session;
use super::vici::Message;
use crate::handle::{Notice, Status};
use crate::narrate::{self, Line};

/// How long a forced `terminate` waits for the peer to agree.
const FORCED: Duration = Duration::from_millis(500);

/// `ike`, `ike-id`, `child`, `child-id`: which SAs are meant. What is not given fits everything.
pub(super) struct Filter<'a> {
    ike: Option<&'a str>,
    ike_id: Option<&'a str>,
    child: Option<&'a str>,
    child_id: Option<&'a str>,
}

impl<'a> Filter<'a> {
    pub(super) fn new(arguments: &'a Message) -> Self {
        let text = |name| arguments.text(name);
        Self { ike: text("ike"), ike_id: text("ike-id"), child: text("child"), child_id: text("child-id") }
    }

    fn is_empty(&self) -> bool {
        [self.ike, self.ike_id, self.child, self.child_id].iter().all(Option::is_none)
    }

    fn names_child(&self) -> bool {
        self.child.is_some() || self.child_id.is_some()
    }

    pub(super) fn ike(&self, ike: &IkeStatus) -> bool {
        let name = ike.connection.as_ref().map(|connection| connection.name.as_str());
        self.ike.is_none_or(|wanted| name == Some(wanted))
            && self.ike_id.is_none_or(|wanted| wanted.parse() == Ok(ike.id.0))
            && (!self.names_child() || ike.children.iter().any(|child| self.child(child)))
    }

    pub(super) fn child(&self, child: &ChildStatus) -> bool {
        self.child.is_none_or(|wanted| child.child.name == wanted)
            && self.child_id.is_none_or(|wanted| wanted.parse() == Ok(child.id.0))
    }

    /// The SAs meant: children if one was named, else IKE SAs.
    fn matches(&self, status: &Status) -> (BTreeSet<IkeSaId>, BTreeSet<ChildId>) {
        let ikes = status.ike_sas.iter().filter(|ike| self.ike(ike));
        if self.names_child() {
            let children = ikes.flat_map(|ike| &ike.children).filter(|child| self.child(child));
            (BTreeSet::new(), children.map(|child| child.id).collect())
        } else {
            (ikes.map(|ike| ike.id).collect(), BTreeSet::new())
        }
    }
}

/// Waits for notices until a deadline, showing them to the client on the way.
struct Watch<'a> {
    session: &'a Session,
    notices: Receiver<Arc<Notice>>,
    deadline: Option<Instant>,
    level: i8,
}

/// What a watch ended with.
enum Watched {
    Notice(Arc<Notice>),
    Missed,
    TimedOut,
    Stopped,
}

impl<'a> Watch<'a> {
    /// Subscribes; do this before the command. `timeout` is in milliseconds, none or 0 waits for the outcome.
    fn new(session: &'a Session, arguments: &Message, timeout: Option<Duration>) -> Self {
        let level = arguments.text("loglevel").and_then(|level| level.parse().ok()).unwrap_or(1);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        Self { session, notices: session.shared.handle.events(), deadline, level }
    }

    async fn next(&mut self) -> Watched {
        let received = match self.deadline {
            Some(deadline) => match tokio::time::timeout_at(deadline, self.notices.recv()).await {
                Ok(received) => received,
                Err(_) => return Watched::TimedOut,
            },
            None => self.notices.recv().await,
        };
        match received {
            Ok(notice) if matches!(*notice, Notice::Stopping) => Watched::Stopped,
            Ok(notice) => Watched::Notice(notice),
            Err(RecvError::Lagged(_)) => Watched::Missed,
            Err(RecvError::Closed) => Watched::Stopped,
        }
    }

    /// Shows the lines that `about` takes for its own.
    async fn show(&self, notice: &Notice, about: impl Fn(&Line) -> bool) {
        for line in narrate::lines(notice).iter().filter(|line| line.level <= self.level && about(line)) {
            self.session.stream("control-log", events::control_log(line)).await;
        }
    }

    async fn say(&self, text: String) {
        let line = Line { group: "IKE", level: 0, connection: None, ike: None, text };
        self.session.stream("control-log", events::control_log(&line)).await;
    }
}

/// `timeout` in milliseconds: `Ok(None)` waits for the outcome, `Err(())` (strongSwan's -1) does not wait at all.
fn timeout(arguments: &Message) -> Result<Option<Duration>, ()> {
    match arguments.text("timeout").and_then(|text| text.parse::<i64>().ok()) {
        Some(..=-1) => Err(()),
        Some(milliseconds @ 1..) => Ok(Some(Duration::from_millis(milliseconds.unsigned_abs()))),
        _ => Ok(None),
    }
}

/// Brings up a child or an IKE SA and waits until it is up or failed.
pub(super) async fn initiate(session: &Session, arguments: &Message) -> Message {
    outcome(try_initiate(session, arguments).await)
}

async fn try_initiate(session: &Session, arguments: &Message) -> Result<(), String> {
    let (ike, child) = (arguments.text("ike"), arguments.text("child"));
    let (kind, name) = match (child, ike) {
        (Some(child), _) => ("CHILD_SA", child),
        (None, Some(ike)) => ("IKE_SA", ike),
        (None, None) => return Err("missing configuration name".to_owned()),
    };
    let config = session.shared.handle.config();
    let connection = config.ike.connections.iter().find(|connection| {
        ike.is_none_or(|name| connection.name == name)
            && child.is_none_or(|name| connection.children.iter().any(|child| child.name == name))
    });
    let Some(connection) = connection else { return Err(format!("{kind} config '{name}' not found")) };
    let connection = connection.name.as_str();
    let failed = |reason: String| format!("establishing {kind} '{name}' failed: {reason}");
    let stopped = || failed("the gateway is stopping".to_owned());

    let wait = timeout(arguments);
    let mut watch = Watch::new(session, arguments, wait.unwrap_or_default());
    if let Some(up) = already_up(session, connection, child).await.map_err(|()| stopped())? {
        watch.say(format!("{up} is already established")).await;
        return Ok(());
    }
    let command = Command::Initiate { connection: connection.to_owned(), child: child.map(str::to_owned) };
    session.shared.handle.command(command).await.map_err(|_| stopped())?;
    if wait.is_err() {
        return Ok(());
    }
    watch.say(format!("initiating {kind} '{name}' of connection '{connection}'")).await;
    let ours = |other: &Option<String>| other.as_deref().is_none_or(|other| child.is_none_or(|child| other == child));
    loop {
        let notice = match watch.next().await {
            Watched::Notice(notice) => notice,
            Watched::Missed => match already_up(session, connection, child).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => continue,
                Err(()) => return Err(stopped()),
            },
            Watched::TimedOut => {
                let after = arguments.text("timeout").unwrap_or("0");
                return Err(format!("{kind} '{name}' not established after {after}ms"));
            }
            Watched::Stopped => return Err(stopped()),
        };
        watch.show(&notice, |line| line.connection.as_deref().is_none_or(|name| name == connection)).await;
        match &*notice {
            Notice::ChildUp { child: id, ike } if is_of(ike, connection) => {
                let up = ike.children.iter().find(|status| status.id == *id);
                if up.is_some_and(|up| child.is_none_or(|child| up.child.name == child)) {
                    return Ok(());
                }
            }
            Notice::Failed(failure) if failure.connection.as_deref() == Some(connection) && ours(&failure.child) => {
                return Err(failed(narrate::reason(failure)));
            }
            // Another one took its place.
            Notice::IkeDown { reason: DownReason::Redundant | DownReason::Rekeyed, .. } => {}
            Notice::IkeDown { connection: Some(name), reason, .. } if name == connection => {
                return Err(failed(narrate::down(*reason).to_owned()));
            }
            _ => {}
        }
    }
}

fn is_of(ike: &IkeStatus, connection: &str) -> bool {
    ike.connection.as_ref().is_some_and(|c| c.name == connection)
}

/// What of the connection is up and makes `initiate` superfluous.
async fn already_up(session: &Session, connection: &str, child: Option<&str>) -> Result<Option<String>, ()> {
    let status = session.shared.handle.status().await.map_err(|_| ())?;
    let children = status.ike_sas.iter().filter(|ike| is_of(ike, connection)).flat_map(|ike| &ike.children);
    let mut up = children.filter(|child| matches!(child.state, ChildState::Installed | ChildState::Rekeying));
    let found = up.find(|status| child.is_none_or(|child| status.child.name == child));
    Ok(found.map(|status| format!("CHILD_SA {}{{{}}}", status.child.name, status.id.0)))
}

/// Deletes SAs and waits until they are gone.
pub(super) async fn terminate(session: &Session, arguments: &Message) -> Message {
    let filter = Filter::new(arguments);
    if filter.is_empty() {
        return outcome(Err("missing terminate selector".to_owned()));
    }
    let (wait, force) = (timeout(arguments), arguments.flag("force"));
    let patience = match (wait, force) {
        (Ok(Some(timeout)), _) => Some(timeout),
        (Ok(None), true) => Some(FORCED),
        _ => None,
    };
    let mut watch = Watch::new(session, arguments, patience);
    let Ok(status) = session.shared.handle.status().await else {
        return outcome(Err("the gateway is stopping".to_owned()));
    };
    let (mut ikes, mut children) = filter.matches(&status);
    let matches = ikes.len() + children.len();
    let commands =
        ikes.iter().copied().map(Command::DeleteIke).chain(children.iter().copied().map(Command::DeleteChild));
    for command in commands {
        if session.shared.handle.command(command).await.is_err() {
            return outcome(Err("the gateway is stopping".to_owned()));
        }
    }
    while wait.is_ok() && !(ikes.is_empty() && children.is_empty()) {
        match watch.next().await {
            Watched::Notice(notice) => {
                let before = ikes.clone();
                match &*notice {
                    Notice::IkeDown { ike, .. } => drop(ikes.remove(ike)),
                    // The SA was rekeyed at this very moment: its successor is meant, too.
                    Notice::IkeRekeyed { old, new } if ikes.remove(old) => {
                        ikes.insert(new.id);
                        let _ = session.shared.handle.command(Command::DeleteIke(new.id)).await;
                    }
                    Notice::ChildDown { child, .. } => drop(children.remove(child)),
                    Notice::ChildRekeyed { old, new, .. } if children.remove(old) => {
                        children.insert(*new);
                        let _ = session.shared.handle.command(Command::DeleteChild(*new)).await;
                    }
                    _ => {}
                }
                watch
                    .show(&notice, |line| line.ike.is_none_or(|id| before.is_empty() || before.contains(&IkeSaId(id))))
                    .await;
            }
            Watched::Missed => match session.shared.handle.status().await {
                Ok(status) => {
                    ikes.retain(|id| status.ike_sas.iter().any(|ike| ike.id == *id));
                    children
                        .retain(|id| status.ike_sas.iter().flat_map(|ike| &ike.children).any(|child| child.id == *id));
                }
                Err(_) => break,
            },
            Watched::TimedOut if force => {
                watch.say("not waiting any longer for the peer to confirm the Delete".to_owned()).await;
                (ikes, children) = Default::default();
            }
            Watched::TimedOut | Watched::Stopped => break,
        }
    }
    let left = if wait.is_ok() { ikes.len() + children.len() } else { 0 };
    let errmsg = match (matches, left) {
        (0, _) => Some("no matching SAs to terminate found"),
        (_, 0) => None,
        (1, _) => Some("terminating SA failed"),
        _ => Some("not all matching SAs could be terminated"),
    };
    counted(matches, errmsg, Some(("terminated", matches - left)))
}

/// Starts to rekey SAs; does not wait.
pub(super) async fn rekey(session: &Session, arguments: &Message) -> Message {
    let filter = Filter::new(arguments);
    if filter.is_empty() {
        return outcome(Err("missing rekey selector".to_owned()));
    }
    if arguments.flag("reauth") {
        return outcome(Err("reauthentication is not supported: rekey, or terminate and initiate".to_owned()));
    }
    let Ok(status) = session.shared.handle.status().await else {
        return outcome(Err("the gateway is stopping".to_owned()));
    };
    let (ikes, children) = filter.matches(&status);
    let matches = ikes.len() + children.len();
    for command in ikes.into_iter().map(Command::RekeyIke).chain(children.into_iter().map(Command::RekeyChild)) {
        if session.shared.handle.command(command).await.is_err() {
            return outcome(Err("the gateway is stopping".to_owned()));
        }
    }
    counted(matches, (matches == 0).then_some("no matching SAs to rekey found"), None)
}

fn counted(matches: usize, errmsg: Option<&str>, done: Option<(&str, usize)>) -> Message {
    let mut message =
        Message::new().with("success", if errmsg.is_some() { "no" } else { "yes" }).with("matches", matches);
    if let Some((name, count)) = done {
        message.set(name, count);
    }
    if let Some(errmsg) = errmsg {
        message.set("errmsg", errmsg);
    }
    message
}
