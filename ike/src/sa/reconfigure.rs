//! What a new configuration means to an SA that is there: what it still allows goes on, by the new values from the
//! next rekey on; the rest is deleted.

use std::sync::Arc;

use super::IkeSa;
use super::children::ChildSa;
use super::phase::Phase;
use super::timers::Timer;
use crate::config::{Child, Connection, StartAction};
use crate::endpoint::context::Ctx;
use crate::event::DownReason;
use crate::exchange::wish::Wish;
use crate::exchange::{InFlight, Task};
use crate::output::ChildId;

impl IkeSa {
    /// Takes over the current configuration, as far as possible: what is being negotiated ends on the terms that were
    /// offered, and is looked at again afterwards.
    pub(crate) fn reconfigure(&mut self, cx: &mut Ctx) {
        let Some(before) = self.connection.clone() else {
            // A responder before IKE_AUTH has no connection yet.
            self.epoch = cx.epoch;
            return;
        };
        let after = cx.config.connections.iter().find(|connection| connection.name == before.name).cloned();
        match (&self.phase, after) {
            (Phase::Closing { .. } | Phase::Responding(_), _) => self.epoch = cx.epoch,
            (Phase::Initiating(_), Some(_)) => {}
            (Phase::Established(_), Some(after)) if self.is_allowed(&after) => self.take_over(cx, after),
            _ => {
                self.epoch = cx.epoch;
                self.close(cx, DownReason::Reconfigured);
            }
        }
    }

    /// Whether `connection` accepts this peer at these addresses.
    fn is_allowed(&self, connection: &Connection) -> bool {
        let (local, remote) = (self.path.local.ip(), self.path.remote.ip());
        let at = (connection.local_addrs.is_empty() || connection.local_addrs.contains(&local))
            && (connection.remote_addrs.is_empty()
                || connection.remote_addrs.iter().any(|range| range.contains(remote)));
        at && self.phase.established().is_some_and(|established| connection.peer.id.matches(&established.remote_id))
    }

    fn take_over(&mut self, cx: &mut Ctx, connection: Arc<Connection>) {
        let named = |name: &str| connection.children.iter().find(|child| child.name == name).cloned();
        let mut misfits: Vec<(ChildId, Option<Arc<Child>>)> = Vec::new();
        for child in self.children.iter_mut() {
            match named(&child.template.name) {
                Some(template) if carries_the_same(child, &template) => child.template = template,
                template => misfits.push((child.id, template)),
            }
        }
        self.queue.retain_mut(|task| match task {
            Task::CreateChild(wish) => named(&wish.template.name).map(|current| wish.template = current).is_some(),
            _ => true,
        });
        self.connection = Some(connection);
        // A child that is just being made has its template from before.
        let settled = !self.in_flight.as_ref().is_some_and(InFlight::makes_child);
        if settled {
            self.epoch = cx.epoch;
        }
        self.timers.stop(Timer::Liveness);
        self.heard(cx);
        for (id, template) in misfits {
            self.push(cx, Task::DeleteChild(id, DownReason::Reconfigured));
            if let Some(template) = template.filter(|template| template.start == StartAction::Start) {
                self.push(cx, Task::CreateChild(Wish::new(template, None)));
            }
        }
    }
}

/// Whether an SA of `child` is what `template` would negotiate, algorithms and lifetimes aside.
fn carries_the_same(child: &ChildSa, template: &Child) -> bool {
    let before = &child.template;
    before.policy == template.policy
        && before.mode == template.mode
        && before.pfp == template.pfp
        && before.local_ts == template.local_ts
        && before.remote_ts == template.remote_ts
}
