//! Child SAs that are wanted, before and while they are negotiated.

use std::sync::Arc;

use cygnet_spd::{Flow, Mode, Pfp, Selector};

use crate::config::Child;
use crate::exchange::transport;
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
}

impl Wish {
    pub(crate) fn new(template: Arc<Child>, flow: Option<Flow>) -> Self {
        Self { template, flow, selector: None, single_pair: false }
    }

    /// Another one like `child`. What an SA took from its first packet, its successor has to ask for; otherwise the
    /// whole policy is asked for anew (RFC 7296 §2.9.2).
    pub(crate) fn like(child: &ChildSa) -> Self {
        let negotiated = || Selector { local: child.local_ts.clone(), remote: child.remote_ts.clone() };
        let selector = (!child.template.pfp.is_none() || child.single_pair).then(negotiated);
        Self { template: child.template.clone(), flow: None, selector, single_pair: child.single_pair }
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

    /// Whether an SA of `other` does for both.
    pub(crate) fn is_met_by(&self, other: &Self) -> bool {
        self.template.name == other.template.name && self.particular() == other.particular()
    }

    /// Whether one of `children` does.
    pub(crate) fn is_met(&self, children: &Children) -> bool {
        match (&self.flow, &self.selector) {
            (Some(flow), _) => children.carries(&self.template.name, flow),
            (None, Some(selector)) => children.covers(&self.template.name, selector),
            (None, None) => children.serving(&self.template.name).is_some(),
        }
    }
}
