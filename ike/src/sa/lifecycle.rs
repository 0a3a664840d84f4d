//! Opening, timing and closing an IKE SA (RFC 7296 §2.4, §2.8, §1.4.1).

use std::sync::Arc;
use std::time::Duration;

use super::children::{ChildSa, Lifetime};
use super::phase::{Established, Phase};
use super::timers::{Timer, jittered};
use super::window::{Overdue, Window};
use super::{IkeSa, Origin};
use crate::config::Connection;
use crate::endpoint::context::Ctx;
use crate::event::{DownReason, Event, FailureCause};
use crate::exchange::failure::Report;
use crate::exchange::wish::Wish;
use crate::exchange::{InFlight, Task, ike_sa_init};
use crate::limits::{HALF_OPEN_LIFETIME, LINGER};
use crate::message::{IkeSpi, NotifyType};
use crate::output::{ChildId, Path, Resource};
use crate::status::ChildState;

impl IkeSa {
    /// Starts IKE_SA_INIT; `wanted` children follow. `None` if no key exchange can be offered.
    pub(crate) fn initiate(cx: &mut Ctx, connection: Arc<Connection>, path: Path, wanted: Vec<Wish>) -> Option<Self> {
        let origin = Origin {
            initiator: true,
            spi_i: cx.ike_spi(),
            spi_r: IkeSpi::ZERO,
            path,
            connection: Some(connection),
            epoch: cx.epoch,
            phase: Phase::Initiating(None),
            window: Window::default(),
        };
        let mut sa = Self::new(cx.spis.ike(), cx.now.instant, origin);
        sa.queue = wanted.into_iter().map(Task::CreateChild).collect();
        ike_sa_init::start(cx, &mut sa)?;
        Some(sa)
    }

    /// Negotiates a child, unless it is up or coming.
    pub(crate) fn want(&mut self, cx: &mut Ctx, wish: Wish) {
        if wish.is_met(&self.children) {
            if let Some(up) = self.children.serving(&wish.template.name).filter(|_| wish.flow.is_none()) {
                cx.event(Event::ChildUp(up.id));
            }
        } else if !self.expects_for(&wish) {
            self.push(cx, Task::CreateChild(wish));
        }
    }

    /// Both sides are authenticated, or a rekey of an SA where they were is done.
    pub(crate) fn establish(&mut self, cx: &mut Ctx, established: Established) {
        self.phase = Phase::Established(Box::new(established));
        self.timers.stop(Timer::Forget);
        let now = cx.now.instant;
        if let Some(connection) = self.connection.clone() {
            if let Some(time) = connection.rekey_time {
                let soft = jittered(&mut *cx.rng, time, connection.rekey_jitter);
                self.timers.set(Timer::Rekey, now + soft);
                self.timers.set(Timer::Expire, now + time + connection.over_time);
            }
            cx.changed(&connection);
        }
        self.heard(cx);
    }

    /// Something authentic came from the peer, or traffic shows that it lives (RFC 7296 §2.4).
    pub(crate) fn heard(&mut self, cx: &mut Ctx) {
        self.heard_at = cx.now.instant;
        let delay = self.connection.as_ref().and_then(|c| c.dpd_delay).filter(|_| self.is_established());
        if let Some(delay) = delay {
            self.timers.set(Timer::Liveness, cx.now.instant + delay);
        }
    }

    /// A timer ran out: retransmission, a child's lifetime, or one of the table.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Ctx) {
        self.handle_retransmission(cx);
        while let Some(lifetime) = self.children.expired(cx.now.instant) {
            match lifetime {
                Lifetime::Soft(child) => self.push(cx, Task::RekeyChild(child)),
                Lifetime::Hard(child) => self.push(cx, Task::DeleteChild(child, DownReason::Expired)),
                Lifetime::Retired(child) => cx.remove(child),
                Lifetime::Reopened(child, resource) => cx.event(Event::ResourcesAgain { child, resource }),
            }
        }
        while let Some(timer) = self.timers.expired(cx.now.instant) {
            match timer {
                Timer::Forget if matches!(self.phase, Phase::Closing { .. }) => {}
                Timer::Forget => {
                    // Half-open for too long: the peer never authenticated, and hears nothing from us.
                    self.phase.close();
                }
                Timer::Rekey => self.push(cx, Task::RekeyIke),
                Timer::Expire => self.close(cx, DownReason::Expired),
                Timer::Liveness => self.check_liveness(cx),
                Timer::Queue | Timer::Optional => {}
            }
        }
        self.start_next(cx);
    }

    /// Any exchange proves liveness, so a probe is sent only if none is under way (RFC 7296 §2.4).
    fn check_liveness(&mut self, cx: &mut Ctx) {
        if self.in_flight.is_none() {
            self.push(cx, Task::Liveness);
        }
    }

    fn handle_retransmission(&mut self, cx: &mut Ctx) {
        let policy = self.retransmit(cx);
        match self.window.overdue(cx.now.instant, &policy) {
            None => {}
            Some(Overdue::Again(datagrams, attempt)) => {
                let datagrams = datagrams.to_vec();
                cx.transmit(self.path, &datagrams);
                cx.event(Event::Retransmitted { ike: self.id, attempt });
            }
            Some(Overdue::GiveUp) => self.give_up(cx),
        }
    }

    /// The peer does not answer.
    pub(crate) fn give_up(&mut self, cx: &mut Ctx) {
        if let Some(reason) = self.in_flight.as_ref().and_then(InFlight::deletion) {
            // We wanted it gone, and so it is.
            return self.bury(cx, reason);
        }
        if !self.is_established() {
            let waiting = self.in_flight.as_ref().map_or("an exchange", InFlight::name);
            Report::new(self, FailureCause::Timeout)
                .offered(format!("{waiting}, sent {} times", self.retransmit(cx).tries + 1))
                .wanted("an answer")
                .remedy("check that the peer runs, its address, and that firewalls pass UDP 500 and 4500")
                .send(cx);
            return self.bury(cx, DownReason::Failed);
        }
        self.bury(cx, DownReason::PeerUnreachable);
    }

    /// Deletes the SA, telling the peer if there is one that could know (RFC 7296 §1.4.1).
    pub(crate) fn close(&mut self, cx: &mut Ctx, reason: DownReason) {
        match self.phase {
            Phase::Closing { .. } => {}
            // The peer may take it for established by now: it hears of the end once its response is there.
            Phase::Initiating(Some(_)) if matches!(self.in_flight, Some(InFlight::IkeAuth(_))) => {
                self.queue.clear();
                self.queue.push_back(Task::DeleteIke(reason));
            }
            Phase::Initiating(_) | Phase::Responding(_) => self.bury(cx, reason),
            Phase::Established(_) if self.deletes_itself() => {}
            Phase::Established(_) => {
                let reason = if self.superseded { DownReason::Rekeyed } else { reason };
                self.queue.clear();
                self.timers.stop(Timer::Queue);
                self.timers.stop(Timer::Optional);
                self.queue.push_back(Task::DeleteIke(reason));
                self.start_next(cx);
            }
        }
    }

    /// Ends the SA without a word to the peer, who knows or is not there.
    pub(crate) fn abandon(&mut self, cx: &mut Ctx, reason: DownReason) {
        self.bury(cx, reason);
    }

    /// The peer asked for the end, and our response is the last word; it stays to be repeated for a while.
    pub(crate) fn end(&mut self, cx: &mut Ctx, reason: DownReason) {
        self.bury(cx, reason);
        self.timers.set(Timer::Forget, cx.now.instant + LINGER);
    }

    /// We answered a request with an error that ends the SA (RFC 7296 §2.21.2, §2.21.3).
    pub(crate) fn refuse(&mut self, cx: &mut Ctx, kind: NotifyType) {
        let reason = DownReason::Failed;
        if kind != NotifyType::AUTHENTICATION_FAILED {
            Report::new(self, FailureCause::Protocol)
                .offered("a request that breaks the protocol")
                .wanted("a well-formed one")
                .remedy(format!("the peer was told {kind}; update its IKE"))
                .send(cx);
        }
        self.bury(cx, reason);
        self.timers.set(Timer::Forget, cx.now.instant + HALF_OPEN_LIFETIME);
    }

    /// The peer's response breaks the protocol: the SA ends without a word (RFC 7296 §2.21.3).
    pub(crate) fn break_off(&mut self, cx: &mut Ctx, kind: NotifyType) {
        Report::new(self, FailureCause::Protocol)
            .offered(format!("a response that deserves {kind}"))
            .wanted("a well-formed one")
            .remedy("update the peer's IKE")
            .send(cx);
        self.bury(cx, DownReason::Failed);
    }

    /// The peer found our request malformed, and with that the SA is over on its side, too (RFC 7296 §2.21.3).
    pub(crate) fn rejected(&mut self, cx: &mut Ctx) {
        Report::new(self, FailureCause::Protocol)
            .offered("a request of ours")
            .wanted(format!("the peer answered {}", NotifyType::INVALID_SYNTAX))
            .remedy("check the peer's log; update the IKE of both sides")
            .send(cx);
        self.bury(cx, DownReason::Failed);
    }

    /// Removes children and timers, reports the end.
    pub(crate) fn bury(&mut self, cx: &mut Ctx, reason: DownReason) {
        self.remove_children(cx, reason);
        let connection = self.connection.clone();
        if !matches!(self.phase, Phase::Responding(_) | Phase::Closing { .. }) || reason == DownReason::Failed {
            cx.event(Event::IkeDown { ike: self.id, connection: connection.clone(), reason });
        }
        self.phase.close();
        self.timers.stop_all();
        self.queue.clear();
        self.in_flight = None;
        self.window.restart();
        if let Some(connection) = connection {
            cx.changed(&connection);
        }
    }

    fn remove_children(&mut self, cx: &mut Ctx, reason: DownReason) {
        if let Some(heir) = self.twin.filter(|_| reason == DownReason::Redundant) {
            return self.bequeath(cx, heir, reason);
        }
        let children: Vec<ChildId> = self.children.iter().map(|child| child.id).collect();
        for child in children {
            self.remove_child(cx, child, reason);
        }
        for retired in self.children.take_retired() {
            cx.remove(retired);
        }
    }

    /// Takes a child down, unless a successor did already: then what is on its way still gets in for a while.
    pub(crate) fn remove_child(&mut self, cx: &mut Ctx, id: ChildId, reason: DownReason) {
        let Some(child) = self.children.remove(id) else { return };
        let replaced = child.successor.filter(|_| child.state != ChildState::Installed);
        if let Some(successor) = replaced.filter(|_| self.is_established()) {
            // The peer has no such pair any more: nothing is sent on it again, even if its successor goes soon.
            if let Some(fresh) = self.children.find_mut(successor).filter(|child| child.unconfirmed) {
                fresh.unconfirmed = false;
                cx.activate(successor);
            }
            cx.retire(id);
            return self.children.retire(id, cx.now.instant + LINGER);
        }
        if let Some(predecessor) = self.children.restore_predecessor(id)
            && matches!(reason, DownReason::Command | DownReason::Expired | DownReason::Reconfigured)
        {
            // Both were meant.
            self.queue.push_back(Task::DeleteChild(predecessor, reason));
        }
        cx.remove(id);
        if let Some(Resource { group, .. }) = child.resource {
            self.use_last_of(cx, group);
        }
        let Some(connection) = self.connection.clone() else { return };
        if replaced.is_none() {
            let name = child.template.name.clone();
            cx.event(Event::ChildDown { child: id, ike: self.id, connection: connection.clone(), name, reason });
        }
        cx.changed(&connection);
    }

    /// Of several with the same selectors, those that wait until the peer shows that it has them are used now, unless there
    /// is another one.
    fn use_last_of(&mut self, cx: &mut Ctx, group: ChildId) {
        let of_group = |child: &&ChildSa| child.resource.is_some_and(|resource| resource.group == group);
        if self.children.iter().filter(of_group).any(|child| !child.unconfirmed) {
            return;
        }
        for child in self.children.iter_mut().filter(|child| of_group(&&**child)) {
            child.unconfirmed = false;
            cx.activate(child.id);
        }
    }

    /// Traffic came in on a child: the peer has both halves (RFC 7296 §2.8).
    pub(crate) fn child_used(&mut self, cx: &mut Ctx, child: ChildId) {
        let fresh = self.children.find_mut(child).filter(|child| child.unconfirmed);
        if let Some(child) = fresh {
            child.unconfirmed = false;
            cx.activate(child.id);
            self.confirm(cx);
        }
        self.heard(cx);
    }

    /// Waits before the queue goes on, or what is optional of it: longer by a random part so that two sides do not meet
    /// again.
    pub(crate) fn pause(&mut self, cx: &mut Ctx, timer: Timer, wait: Duration) {
        let wait = jittered(&mut *cx.rng, wait * 2, wait);
        self.timers.set(timer, cx.now.instant + wait);
    }
}
