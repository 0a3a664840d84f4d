//! Child SAs that are wanted, before and while they are negotiated.

use std::sync::Arc;

use cygnet_esp::{Encr, Spi};
use cygnet_spd::{Flow, Mode, Pfp, Selector};

use crate::config::Child;
use crate::exchange::transport;
use crate::limits::RESOURCE_SA_TRIES;
use crate::output::Resource;
use crate::proposal::Proposal;
use crate::sa::IkeSa;
use crate::sa::children::{ChildSa, Children};

/// A Child SA of a template, perhaps for a packet.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) template: Arc<Child>,
    /// The packet that asks for it (RFC 4301 §5.1).
    pub(crate) flow: Option<Flow>,
    /// Instead of the template's: those of the SA that it takes the place of.
    selector: Option<Selector>,
    /// The peer wants one pair of addresses in each SA (SINGLE_PAIR_REQUIRED, RFC 7296 §2.9).
    single_pair: bool,
    /// Its place among several with the same selectors (RFC 9611).
    pub(crate) resource: Option<Resource>,
    /// The algorithms of the others, to join them (RFC 9611 §4).
    alike: Option<(&'static Encr, bool)>,
    /// The inbound SPI of the SA that it takes the place of.
    replaces: Option<Spi>,
    /// How often the peer could not make it just then.
    postponed: u8,
}

impl Wish {
    pub(crate) fn new(template: Arc<Child>, flow: Option<Flow>) -> Self {
        Self {
            template,
            flow,
            selector: None,
            single_pair: false,
            resource: None,
            alike: None,
            replaces: None,
            postponed: 0,
        }
    }

    /// Another one like `child`. What an SA took from its first packet, its successor has to ask for; otherwise the
    /// whole policy is asked for anew (RFC 7296 §2.9.2).
    pub(crate) fn like(child: &ChildSa) -> Self {
        let selector = (!child.template.pfp.is_none() || child.single_pair).then(|| child.selector());
        Self {
            template: child.template.clone(),
            flow: None,
            selector,
            single_pair: child.single_pair,
            resource: child.resource,
            alike: None,
            replaces: Some(child.spi_in),
            postponed: 0,
        }
    }

    /// One for the traffic of `child`, whether that is of one resource or not.
    pub(crate) fn for_traffic_of(child: &ChildSa) -> Self {
        Self { resource: None, replaces: None, ..Self::like(child) }
    }

    /// Another one beside `child`, for resource `number`: with the same selectors and algorithms (RFC 9611 §4). `None` if
    /// `child` is not one of several.
    pub(crate) fn beside(child: &ChildSa, number: u32) -> Option<Self> {
        Some(Self {
            resource: Some(Resource { number: Some(number), ..child.resource? }),
            selector: Some(child.selector()),
            alike: Some((child.encr, child.esn)),
            replaces: None,
            ..Self::like(child)
        })
    }

    /// Whether it is to join others with the same selectors.
    pub(crate) fn joins(&self) -> Option<Resource> {
        self.resource.filter(|_| self.alike.is_some())
    }

    /// What may be offered of `proposals`.
    pub(crate) fn allowed(&self, proposals: Vec<Proposal>) -> Vec<Proposal> {
        match self.alike {
            Some((encr, esn)) => proposals.iter().filter_map(|proposal| proposal.only(encr, esn)).collect(),
            None => proposals,
        }
    }

    /// Whether anything is configured that it may be made of.
    pub(crate) fn has_algorithms(&self) -> bool {
        self.alike.is_none_or(|(encr, esn)| self.template.proposals.iter().any(|p| p.only(encr, esn).is_some()))
    }

    /// The peer cannot make it just now: whether it is to be asked for again.
    pub(crate) fn postpone(&mut self) -> bool {
        self.postponed += 1;
        self.postponed < RESOURCE_SA_TRIES
    }

    pub(crate) fn replaces(&self) -> Option<Spi> {
        self.replaces
    }

    /// The same for the packet's addresses alone; `None` if it is no different, or there is no packet.
    pub(crate) fn as_single_pair(&self) -> Option<Self> {
        (self.flow.is_some() && !self.single_pair).then(|| Self { single_pair: true, ..self.clone() })
    }

    /// What the SA that it takes the place of had taken from its first packet.
    pub(crate) fn taken(self) -> Option<Selector> {
        self.selector
    }

    pub(crate) fn is_single_pair(&self) -> bool {
        self.single_pair
    }

    /// What the SA is to carry on the path of `sa`: what is configured, less what its packet decides, and in transport
    /// mode between the two hosts alone. `None`: nothing.
    pub(crate) fn selector(&self, sa: &IkeSa) -> Option<Selector> {
        let is_transport = self.template.mode == Mode::Transport;
        let policy = match &self.selector {
            // What was negotiated once stays within what is configured now, wherever the peer went.
            Some(negotiated) if is_transport => self.policy().intersect(&transport::moved(sa, negotiated))?,
            Some(negotiated) => self.policy().intersect(negotiated)?,
            None => self.policy(),
        };
        let policy = if is_transport { transport::between_hosts(sa, &policy)? } else { policy };
        match &self.flow {
            Some(flow) => self.pfp().populate(&policy, flow),
            None => Some(policy),
        }
    }

    fn policy(&self) -> Selector {
        Selector { local: self.template.local_ts.clone(), remote: self.template.remote_ts.clone() }
    }

    fn pfp(&self) -> Pfp {
        match self.single_pair {
            true => Pfp { local_address: true, remote_address: true, ..self.template.pfp },
            false => self.template.pfp,
        }
    }

    /// What sets it apart from other wishes of its template; `None`: nothing, one SA does for all.
    fn particular(&self) -> Option<Selector> {
        let populated = |flow| if self.pfp().is_none() { None } else { self.pfp().populate(&self.policy(), flow) };
        self.selector.clone().or_else(|| self.flow.as_ref().and_then(populated))
    }

    /// The resource that it is for alone.
    pub(crate) fn number(&self) -> Option<u32> {
        self.resource?.number
    }

    /// Whether an SA of `other` does for both.
    pub(crate) fn is_met_by(&self, other: &Self) -> bool {
        self.template.name == other.template.name
            && self.particular() == other.particular()
            && self.number() == other.number()
    }

    /// Whether one of `children` does.
    pub(crate) fn is_met(&self, children: &Children) -> bool {
        if let Some(Resource { group, number: number @ Some(_) }) = self.resource {
            return children.of_group(group).any(|child| child.resource.is_some_and(|r| r.number == number));
        }
        match (&self.flow, &self.selector) {
            (Some(flow), _) => children.carries(&self.template.name, flow),
            (None, Some(selector)) => children.covers(&self.template.name, selector),
            (None, None) => children.serving(&self.template.name).is_some(),
        }
    }
}
