//! An initiator's offer of a Child SA: algorithms (RFC 7296 §2.7), traffic selectors (RFC 7296 §2.9), mode
//! (RFC 7296 §1.3.1); and what the responder made of it.

use cygnet_esp::Spi;
use cygnet_spd::{Mode, Selector, TrafficSelector};

use crate::crypto::kex::Offer;
use crate::endpoint::context::Ctx;
use crate::event::FailureCause;
use crate::exchange::child::Agreed;
use crate::exchange::failure::{Report, list};
use crate::exchange::per_resource::{self, Part};
use crate::exchange::wish::Wish;
use crate::exchange::{Task, offer, transport};
use crate::message::payload::{Ts, WireSpi};
use crate::message::{Chain, MessageBuilder, NotifyType, Payload};
use crate::output::Resource;
use crate::proposal::{self, EspSuite, Proposal};
use crate::sa::IkeSa;

/// An initiator's offer of a Child SA.
#[derive(Debug)]
pub(crate) struct ChildOffer {
    pub(crate) wish: Wish,
    pub(crate) spi_in: Spi,
    proposals: Vec<Proposal>,
    local_ts: Vec<TrafficSelector>,
    remote_ts: Vec<TrafficSelector>,
}

/// Why a responder's answer makes no Child SA. The responder has one now, and it has to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unacceptable {
    /// It is none of what was offered.
    NotOffered,
    /// We asked for transport mode, and the answer is tunnel mode (RFC 7296 §1.3.1).
    TransportDeclined,
    /// We asked for tunnel mode, and the answer is transport mode.
    TransportUnasked,
}

impl ChildOffer {
    /// In IKE_AUTH, whose Child SA has no key exchange of its own (RFC 7296 §1.2). `None`, after an event, if there is
    /// nothing to ask for on this path.
    pub(crate) fn in_ike_auth(cx: &mut Ctx, sa: &IkeSa, wish: Wish) -> Option<Self> {
        let proposals = wish.template.proposals.iter().map(Proposal::without_groups).collect();
        Self::new(cx, sa, wish, proposals)
    }

    /// In CREATE_CHILD_SA. `None`, after an event, if there is nothing to ask for on this path.
    pub(crate) fn in_create_child_sa(cx: &mut Ctx, sa: &IkeSa, wish: Wish) -> Option<Self> {
        let proposals = wish.template.proposals.clone();
        Self::new(cx, sa, wish, proposals)
    }

    /// The packet that asked for the SA, if there is one, goes in front of the others, so that the responder can choose
    /// a subset that holds it (RFC 7296 §2.9).
    fn new(cx: &mut Ctx, sa: &IkeSa, wish: Wish, proposals: Vec<Proposal>) -> Option<Self> {
        let Some(Selector { local, remote }) = wish.selector(sa) else {
            let template = &wish.template;
            Report::new(sa, FailureCause::Selectors)
                .child(&template.name)
                .offered(format!("by us: traffic between {} and {}", sa.path.local.ip(), sa.path.remote.ip()))
                .wanted(format!("some of {} === {}", list(&template.local_ts), list(&template.remote_ts)))
                .remedy("in transport mode, let `local_ts` hold our own address and `remote_ts` that of the peer")
                .send(cx);
            if let Some(connection) = &sa.connection {
                cx.changed(connection);
            }
            return None;
        };
        let packet = wish.flow.map(|flow| flow.selectors());
        let with = |first: Option<TrafficSelector>, rest: Vec<TrafficSelector>| match first {
            Some(first) if !rest.contains(&first) => [vec![first], rest].concat(),
            _ => rest,
        };
        let local_ts = with(packet.map(|(local, _)| local), local);
        let remote_ts = with(packet.map(|(_, remote)| remote), remote);
        let proposals = wish.allowed(proposals);
        if proposals.is_empty() {
            // An SA payload without proposals would break the protocol, and end the IKE SA (RFC 7296 §2.21.3, §3.3).
            return None;
        }
        let spi_in = cx.esp_spi(wish.replaces(), wish.number());
        Some(Self { spi_in, wish, proposals, local_ts, remote_ts })
    }

    /// SA, and the mode in front of it (RFC 7296 Appendix C.4).
    pub(crate) fn push_sa(&self, request: &mut MessageBuilder) {
        if self.wish.template.mode == Mode::Transport {
            request.notify(NotifyType::USE_TRANSPORT_MODE, &[]);
        }
        if let Some(part) = self.part() {
            part.push(request);
        }
        request.push(&Payload::Sa(offer::offer(&self.proposals, WireSpi::Esp(self.spi_in))));
    }

    /// What is asked for of several SAs with the same selectors.
    fn part(&self) -> Option<Part> {
        let first = self.wish.template.per_resource_sas && self.wish.replaces().is_none();
        self.wish.resource.map(Part::Of).or(first.then_some(Part::First))
    }

    pub(crate) fn push_ts(&self, request: &mut MessageBuilder) {
        request.push(&Payload::TsI(Ts::from(&*self.local_ts)));
        request.push(&Payload::TsR(Ts::from(&*self.remote_ts)));
    }

    /// A key exchange for forward secrecy, if the proposals have one: of `group`, or of the most wanted.
    pub(crate) fn key_exchange(&self, cx: &mut Ctx, tried: &[u16], asked: Option<u16>) -> Option<Offer> {
        let group = match asked {
            None => proposal::first_group(&self.proposals),
            Some(asked) => proposal::retry_group(&self.proposals, tried, asked),
        };
        group?.offer(&mut *cx.rng).ok()
    }

    /// Takes the responder's choice.
    ///
    /// # Errors
    /// It is not among what we offered.
    pub(crate) fn accept(&self, sa: &IkeSa, payloads: &Chain<'_>) -> Result<Agreed, Unacceptable> {
        let mode = match payloads.has_notify(NotifyType::USE_TRANSPORT_MODE) {
            true => Mode::Transport,
            false => Mode::Tunnel,
        };
        match (self.wish.template.mode, mode) {
            (Mode::Transport, Mode::Tunnel) => return Err(Unacceptable::TransportDeclined),
            (Mode::Tunnel, Mode::Transport) => return Err(Unacceptable::TransportUnasked),
            _ => {}
        }
        self.accept_choice(sa, payloads, mode).ok_or(Unacceptable::NotOffered)
    }

    fn accept_choice(&self, sa: &IkeSa, payloads: &Chain<'_>, mode: Mode) -> Option<Agreed> {
        let (suite, spi) = offer::accept::<EspSuite>(payloads.sa().ok()?, &self.proposals)?;
        let (local, remote) = (&payloads.ts_i().ok()?.selectors, &payloads.ts_r().ok()?.selectors);
        let (selector, original) = match mode {
            Mode::Transport => transport::received(sa, local, remote),
            Mode::Tunnel => (Selector { local: local.clone(), remote: remote.clone() }, None),
        };
        let within = |chosen: &[TrafficSelector], ours: &[TrafficSelector]| {
            !chosen.is_empty() && chosen.iter().all(|ts| ours.iter().any(|own| own.contains(ts)))
        };
        let is_within = within(&selector.local, &self.local_ts) && within(&selector.remote, &self.remote_ts);
        is_within.then_some(())?;
        // Those of one group are alike in everything (RFC 9611 §4).
        let joins = self.wish.joins().is_some();
        let is_whole = within(&self.local_ts, &selector.local) && within(&self.remote_ts, &selector.remote);
        (!joins || is_whole).then_some(())?;
        Some(Agreed {
            template: self.wish.template.clone(),
            suite,
            spi_in: self.spi_in,
            spi_out: spi.esp().filter(|spi| *spi >= Spi::MIN)?,
            local_ts: selector.local,
            remote_ts: selector.remote,
            mode,
            original,
            single_pair: self.wish.is_single_pair(),
            // One that is there keeps its place, whatever the peer says of its successor (RFC 9611 §4).
            part: self.part().filter(|part| *part != Part::First || payloads.has_notify(NotifyType::SA_RESOURCE_INFO)),
        })
    }

    /// Says why there is no Child SA. The IKE SA lives on (RFC 7296 §1.2, §2.21.3). A responder that wants single pairs
    /// of addresses is asked once more, for the packet's.
    pub(crate) fn refused(&self, cx: &mut Ctx, sa: &mut IkeSa, kind: NotifyType) {
        if kind == NotifyType::SINGLE_PAIR_REQUIRED
            && let Some(wish) = self.wish.as_single_pair()
        {
            return sa.push(cx, Task::CreateChild(wish));
        }
        if let Some(Resource { group, .. }) = self.wish.joins() {
            return per_resource::refused(cx, sa, group, kind);
        }
        let (cause, remedy) = match kind {
            NotifyType::NO_PROPOSAL_CHOSEN => (
                FailureCause::NoProposal,
                "give both sides one ESP proposal in common (`esp_proposals`), and the same `mode`".to_owned(),
            ),
            NotifyType::TS_UNACCEPTABLE => (
                FailureCause::Selectors,
                "let our `local_ts` overlap with the peer's remote selectors, and `remote_ts` with its local ones"
                    .to_owned(),
            ),
            NotifyType::SINGLE_PAIR_REQUIRED => (
                FailureCause::Selectors,
                "let traffic bring it up: the peer wants an SA for each pair of addresses, and a packet names one"
                    .to_owned(),
            ),
            other => (FailureCause::Notified(other.0), format!("the peer answered {other}: check its log")),
        };
        let offered = match cause {
            FailureCause::NoProposal => proposal::list(&self.proposals),
            _ => self.selectors(),
        };
        self.report(cx, sa, cause, offered, &format!("the peer answered {kind}"), &remedy);
    }

    /// Says why the responder's Child SA is not taken, and has it deleted.
    pub(crate) fn reject(&self, cx: &mut Ctx, sa: &mut IkeSa, why: Unacceptable) {
        match why {
            Unacceptable::NotOffered => self.refused(cx, sa, NotifyType::INVALID_SYNTAX),
            _ if self.wish.joins().is_some() => self.refused(cx, sa, NotifyType::NO_PROPOSAL_CHOSEN),
            Unacceptable::TransportDeclined => self.report(
                cx,
                sa,
                FailureCause::Mode,
                format!("transport mode for {}", self.selectors()),
                "the peer chose tunnel mode",
                "let `mode` be the same on both sides",
            ),
            Unacceptable::TransportUnasked => self.report(
                cx,
                sa,
                FailureCause::Mode,
                format!("tunnel mode for {}", self.selectors()),
                "the peer chose transport mode, which was not offered",
                "update the peer's IKE",
            ),
        }
        sa.push(cx, Task::DiscardChild(self.spi_in));
    }

    fn selectors(&self) -> String {
        format!("{} === {}", list(&self.local_ts), list(&self.remote_ts))
    }

    fn report(&self, cx: &mut Ctx, sa: &IkeSa, cause: FailureCause, offered: String, wanted: &str, remedy: &str) {
        Report::new(sa, cause)
            .child(&self.wish.template.name)
            .offered(format!("by us: {offered}"))
            .wanted(wanted)
            .remedy(remedy)
            .send(cx);
        if let Some(connection) = &sa.connection {
            cx.changed(connection);
        }
    }
}
