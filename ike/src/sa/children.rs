//! The Child SAs of one IKE SA.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cygnet_esp::{Encr, Spi};
use cygnet_spd::{Flow, Mode, Selector, TrafficSelector};

use crate::config::Child;
use crate::output::{ChildId, Resource};
use crate::status::{ChildState, ChildStatus};

/// A pair of ESP SAs, without its keys: those went to the data path.
#[derive(Debug)]
pub(crate) struct ChildSa {
    pub(crate) id: ChildId,
    pub(crate) template: Arc<Child>,
    pub(crate) spi_in: Spi,
    pub(crate) spi_out: Spi,
    pub(crate) encr: &'static Encr,
    pub(crate) group: Option<u16>,
    pub(crate) esn: bool,
    pub(crate) udp_encapsulation: bool,
    pub(crate) local_ts: Vec<TrafficSelector>,
    pub(crate) remote_ts: Vec<TrafficSelector>,
    pub(crate) mode: Mode,
    /// The peer wants one pair of addresses in each SA (RFC 7296 §2.9).
    pub(crate) single_pair: bool,
    /// Its place among several with the same selectors (RFC 9611).
    pub(crate) resource: Option<Resource>,
    pub(crate) state: ChildState,
    /// The pair that replaced this one, from the new pair's installation on.
    pub(crate) successor: Option<ChildId>,
    /// As responder of a rekey: the peer has not shown yet that it has this pair (RFC 7296 §2.8).
    pub(crate) unconfirmed: bool,
    pub(crate) installed: Instant,
    /// When the first one of which this is the successor was installed; without any, its own time.
    pub(crate) began: Instant,
    pub(crate) rekey_at: Option<Instant>,
    pub(crate) expires_at: Option<Instant>,
}

impl ChildSa {
    /// Whether it carries traffic, or soon will again.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.state, ChildState::Installed | ChildState::Rekeying)
    }

    /// What it carries.
    pub(crate) fn selector(&self) -> Selector {
        Selector { local: self.local_ts.clone(), remote: self.remote_ts.clone() }
    }

    fn deadline(&self) -> Option<Instant> {
        let rekey = self.rekey_at.filter(|_| self.state == ChildState::Installed);
        let expire = self.expires_at.filter(|_| self.state != ChildState::Deleting);
        rekey.into_iter().chain(expire).min()
    }

    fn status(&self) -> ChildStatus {
        ChildStatus {
            id: self.id,
            child: self.template.clone(),
            state: self.state,
            spi_in: self.spi_in,
            spi_out: self.spi_out,
            encr: self.encr,
            group: self.group,
            esn: self.esn,
            udp_encapsulation: self.udp_encapsulation,
            local_ts: self.local_ts.clone(),
            remote_ts: self.remote_ts.clone(),
            mode: self.mode,
            resource: self.resource,
            installed: self.installed,
            rekey_at: self.rekey_at,
            expires_at: self.expires_at,
        }
    }
}

/// What a child's lifetime asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// The soft limit passed: rekey.
    Soft(ChildId),
    /// The hard limit passed: delete.
    Hard(ChildId),
    /// What was under way to a replaced pair has arrived: remove it.
    Retired(ChildId),
    /// More of a group may be asked for: of one resource, or of all.
    Reopened(ChildId, Option<u32>),
}

/// The children; one owner, always: rekeying the IKE SA moves them by value to the successor (RFC 7296 §2.8).
#[derive(Debug, Default)]
pub(crate) struct Children {
    alive: Vec<ChildSa>,
    /// Deleted in favour of a successor; installed a little longer for packets under way.
    retired: Vec<(ChildId, Instant)>,
    /// What the peer does not want more of.
    shut: Vec<Shut>,
}

/// A group of which no more is asked for.
#[derive(Debug)]
struct Shut {
    group: ChildId,
    /// For this resource alone.
    number: Option<u32>,
    until: Instant,
}

impl Children {
    pub(crate) fn push(&mut self, child: ChildSa) {
        self.alive.push(child);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ChildSa> + '_ {
        self.alive.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ChildSa> + '_ {
        self.alive.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.alive.len()
    }

    pub(crate) fn find(&self, id: ChildId) -> Option<&ChildSa> {
        self.alive.iter().find(|child| child.id == id)
    }

    pub(crate) fn find_mut(&mut self, id: ChildId) -> Option<&mut ChildSa> {
        self.alive.iter_mut().find(|child| child.id == id)
    }

    /// The child that the peer names by the SPI of its own inbound half (RFC 7296 §1.3.3, §1.4.1).
    pub(crate) fn by_peer_spi(&self, spi: Spi) -> Option<&ChildSa> {
        self.alive.iter().find(|child| child.spi_out == spi)
    }

    /// A child of `template` that carries traffic, or soon will again.
    pub(crate) fn serving(&self, template: &str) -> Option<&ChildSa> {
        self.alive.iter().filter(|child| child.serves()).find(|child| child.template.name == template)
    }

    /// Whether a child of `template` would carry packets of `flow`.
    pub(crate) fn carries(&self, template: &str, flow: &Flow) -> bool {
        self.alive.iter().filter(|child| child.serves()).filter(|child| child.template.name == template).any(|child| {
            // A flow matches if it lies within one selector of each side (RFC 7296 §2.9).
            Selector { local: child.local_ts.clone(), remote: child.remote_ts.clone() }.contains(flow)
        })
    }

    /// Whether a child of `template` would carry all that `selector` selects.
    pub(crate) fn covers(&self, template: &str, selector: &Selector) -> bool {
        let within = |asked: &[TrafficSelector], have: &[TrafficSelector]| {
            asked.iter().all(|ts| have.iter().any(|own| own.contains(ts)))
        };
        let mut of_template =
            self.alive.iter().filter(|child| child.serves()).filter(|child| child.template.name == template);
        of_template.any(|c| within(&selector.local, &c.local_ts) && within(&selector.remote, &c.remote_ts))
    }

    /// Those that serve in a group of several with the same selectors (RFC 9611 §4).
    pub(crate) fn of_group(&self, group: ChildId) -> impl Iterator<Item = &ChildSa> + '_ {
        self.alive.iter().filter(move |child| child.serves() && child.resource.is_some_and(|r| r.group == group))
    }

    /// Until `until`, no more of `group` is asked for: of one resource, or at all. Whether that is news.
    pub(crate) fn shut(&mut self, group: ChildId, number: Option<u32>, now: Instant, until: Instant) -> bool {
        let is_news = !self.is_shut(group, number, now);
        if is_news {
            let of = |group| self.alive.iter().any(|child| child.resource.is_some_and(|r| r.group == group));
            self.shut.retain(|shut| shut.until > now && of(shut.group));
            self.shut.push(Shut { group, number, until });
        }
        is_news
    }

    /// Whether no more of `group` is asked for, of one resource or at all.
    pub(crate) fn is_shut(&self, group: ChildId, number: Option<u32>, now: Instant) -> bool {
        let covers = |shut: &Shut| shut.group == group && (shut.number.is_none() || shut.number == number);
        self.shut.iter().any(|shut| covers(shut) && shut.until > now)
    }

    pub(crate) fn remove(&mut self, id: ChildId) -> Option<ChildSa> {
        let index = self.alive.iter().position(|child| child.id == id)?;
        Some(self.alive.remove(index))
    }

    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// A successor is gone before its predecessor: that one serves again.
    pub(crate) fn restore_predecessor(&mut self, successor: ChildId) -> Option<ChildId> {
        let waits = |child: &&mut ChildSa| child.successor == Some(successor) && child.state == ChildState::Rekeyed;
        let child = self.alive.iter_mut().find(waits)?;
        child.state = ChildState::Installed;
        child.successor = None;
        Some(child.id)
    }

    /// Every child that is installed, for a change of owner or path.
    pub(crate) fn ids(&self) -> Vec<ChildId> {
        self.alive.iter().map(|child| child.id).chain(self.retired.iter().map(|(id, _)| *id)).collect()
    }

    /// Keeps a deleted pair installed until `at`.
    pub(crate) fn retire(&mut self, id: ChildId, at: Instant) {
        self.retired.push((id, at));
    }

    /// All that is retired, at once.
    pub(crate) fn take_retired(&mut self) -> Vec<ChildId> {
        self.retired.drain(..).map(|(id, _)| id).collect()
    }

    /// The earliest limit.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let retired = self.retired.iter().map(|(_, at)| *at);
        let shut = self.shut.iter().map(|shut| shut.until);
        self.alive.iter().filter_map(ChildSa::deadline).chain(retired).chain(shut).min()
    }

    /// Takes one limit that has passed.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Lifetime> {
        if let Some(index) = self.retired.iter().position(|(_, at)| *at <= now) {
            return Some(Lifetime::Retired(self.retired.swap_remove(index).0));
        }
        if let Some(index) = self.shut.iter().position(|shut| shut.until <= now) {
            let Shut { group, number, .. } = self.shut.swap_remove(index);
            return Some(Lifetime::Reopened(group, number));
        }
        let child = self.alive.iter_mut().find(|child| child.deadline().is_some_and(|at| at <= now))?;
        if child.expires_at.is_some_and(|at| at <= now) {
            child.expires_at = None;
            child.rekey_at = None;
            return Some(Lifetime::Hard(child.id));
        }
        child.rekey_at = None;
        Some(Lifetime::Soft(child.id))
    }

    /// Tries the rekey of `id` again later.
    pub(crate) fn rekey_later(&mut self, id: ChildId, now: Instant, wait: Duration) {
        if let Some(child) = self.find_mut(id).filter(|child| child.state == ChildState::Rekeying) {
            child.state = ChildState::Installed;
            child.rekey_at = Some(now + wait);
        }
    }

    pub(crate) fn status(&self) -> Vec<ChildStatus> {
        self.alive.iter().map(ChildSa::status).collect()
    }
}
