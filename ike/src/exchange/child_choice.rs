//! A responder's choice of a Child SA: the template, its traffic selectors narrowed to what both sides want
//! (RFC 7296 §2.9), the mode (RFC 7296 §1.3.1), and algorithms (RFC 7296 §2.7).

use std::net::IpAddr;
use std::sync::Arc;

use cygnet_esp::Spi;
use cygnet_spd::{AddrRange, Mode, PortRange, Selector, TrafficSelector, narrow};

use crate::config::{Child, Connection};
use crate::endpoint::context::Ctx;
use crate::event::FailureCause;
use crate::exchange::child::Agreed;
use crate::exchange::failure::{Failure, Report, broken, list, notify};
use crate::exchange::offer::{self, Choice};
use crate::exchange::per_resource::{self, Part, Room};
use crate::exchange::transport;
use crate::limits::TRAFFIC_SELECTORS;
use crate::message::payload::{Ts, WireSpi};
use crate::message::{Chain, MessageBuilder, NotifyType, Payload};
use crate::output::Resource;
use crate::proposal::{EspSuite, Proposal};
use crate::sa::IkeSa;

/// A responder's choice of a Child SA.
pub(crate) struct ChildChoice<'a> {
    pub(crate) agreed: Agreed,
    choice: Choice<'a, EspSuite>,
}

impl ChildChoice<'_> {
    /// SA, and the mode in front of it (RFC 7296 Appendix C.4).
    pub(crate) fn push_sa(&self, response: &mut MessageBuilder) {
        if self.agreed.mode == Mode::Transport {
            response.notify(NotifyType::USE_TRANSPORT_MODE, &[]);
        }
        if let Some(part) = &self.agreed.part {
            part.push(response);
        }
        response.push(&Payload::Sa(self.choice.answer(WireSpi::Esp(self.agreed.spi_in))));
    }

    /// In transport mode, too, these are the selectors as we see them, addresses substituted (RFC 7296 §2.23.1): they
    /// tell the initiator what its NAT made of its address, and ours before translation.
    pub(crate) fn push_ts(&self, response: &mut MessageBuilder) {
        response.push(&Payload::TsI(Ts::from(&*self.agreed.remote_ts)));
        response.push(&Payload::TsR(Ts::from(&*self.agreed.local_ts)));
    }
}

/// In which exchange a Child SA is chosen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Without a key exchange of its own (RFC 7296 §1.2).
    IkeAuth,
    CreateChildSa,
    /// In place of an SA.
    Rekey {
        /// What it took from its first packet: its successor has the same.
        taken: Option<Selector>,
        /// Its place among several with the same selectors: its successor has the same (RFC 9611 §4).
        resource: Option<Resource>,
        /// Its inbound SPI.
        spi_in: Spi,
    },
}

/// What the peer proposes, in our terms.
struct Proposed {
    selector: Selector,
    original: Option<(IpAddr, IpAddr)>,
}

/// A template that would do.
struct Fit<'t> {
    template: &'t Arc<Child>,
    granted: Selector,
    original: Option<(IpAddr, IpAddr)>,
    /// Better ones are smaller: the mode that was asked for, then all the traffic that was.
    rank: (bool, bool),
}

/// As responder, chooses a template, its selectors narrowed to what both sides want, and algorithms.
///
/// A request for transport mode is served in tunnel mode if only that is configured; the initiator may then delete the
/// SA (RFC 7296 §1.3.1). The reverse does not exist.
///
/// # Errors
/// NO_PROPOSAL_CHOSEN or TS_UNACCEPTABLE, after an event that explains it; SINGLE_PAIR_REQUIRED, which the initiator can
/// mend by itself; TS_MAX_QUEUE.
pub(crate) fn choose<'a>(
    cx: &mut Ctx,
    sa: &IkeSa,
    connection: &Connection,
    templates: &[Arc<Child>],
    payloads: &Chain<'a>,
    place: Place,
) -> Result<ChildChoice<'a>, Failure> {
    let with_groups = place != Place::IkeAuth;
    let (offered, tsi, tsr) = (payloads.sa()?, &payloads.ts_i()?.selectors, &payloads.ts_r()?.selectors);
    // Peers that list groups in IKE_AUTH, where there is no key exchange, mean those of later rekeys (RFC 7296 §1.2).
    let offered = &if with_groups { offered.clone() } else { offer::without_groups(offered) };
    let wants_transport = payloads.has_notify(NotifyType::USE_TRANSPORT_MODE);
    let as_sent = Proposed { selector: Selector { local: tsr.clone(), remote: tsi.clone() }, original: None };
    let (selector, original) = transport::received(sa, tsr, tsi);
    let as_seen = Proposed { selector, original };

    let (mut fits, mut other_mode, mut too_wide) = (Vec::new(), None, false);
    for template in templates {
        let proposed = if template.mode == Mode::Transport { &as_seen } else { &as_sent };
        match grant(sa, template, proposed, &place) {
            Err(NoGrant::Nothing) => {}
            Err(NoGrant::SinglePairRequired) => too_wide = true,
            Ok(_) if template.mode == Mode::Transport && !wants_transport => {
                other_mode.get_or_insert(template);
            }
            Ok(granted) => {
                let rank = (wants_transport && template.mode != Mode::Transport, granted != proposed.selector);
                fits.push(Fit { template, granted, original: proposed.original, rank });
            }
        }
    }
    // Among equals, the first.
    fits.sort_by_key(|fit| fit.rank);
    let mut miss = None;
    for Fit { template, granted, original, .. } in fits {
        let proposals: Vec<Proposal> = match with_groups {
            true => template.proposals.clone(),
            false => template.proposals.iter().map(Proposal::without_groups).collect(),
        };
        let room = match &place {
            Place::Rekey { resource, .. } => Room { part: resource.map(Part::Of), alike: None },
            _ => per_resource::room(sa, template, &granted, payloads, cx.config.workers)?,
        };
        let (joins, proposals, part) = (room.alike.is_some(), room.allowed(proposals), room.part);
        match offer::choose::<EspSuite>(offered, &proposals) {
            Ok(choice) => {
                let Some(spi_out) = choice.spi.esp() else { return Err(broken()) };
                if wants_transport && template.mode == Mode::Tunnel {
                    declined(cx, sa, template, &granted);
                }
                let replaces = if let Place::Rekey { spi_in, .. } = place { Some(spi_in) } else { None };
                let spi_in = cx.esp_spi(replaces, part.and_then(Part::number));
                let suite = choice.suite;
                let agreed = Agreed {
                    template: template.clone(),
                    suite,
                    spi_in,
                    spi_out,
                    local_ts: granted.local,
                    remote_ts: granted.remote,
                    mode: template.mode,
                    original,
                    single_pair: false,
                    part,
                };
                return Ok(ChildChoice { agreed, choice });
            }
            // It goes on without one more, until those that there are have been rekeyed.
            Err(_) if joins => return Err(notify(NotifyType::NO_PROPOSAL_CHOSEN)),
            Err(no_proposal) => miss = Some((template.name.clone(), no_proposal)),
        }
    }
    if let Some((child, miss)) = miss {
        Report::new(sa, FailureCause::NoProposal)
            .child(&child)
            .offered(format!("by the peer: {}", miss.offered))
            .wanted(miss.wanted)
            .remedy(format!("add a common algorithm to `esp_proposals` on one side ({})", miss.difference))
            .send(cx);
        return Err(notify(NotifyType::NO_PROPOSAL_CHOSEN));
    }
    if too_wide {
        return Err(notify(NotifyType::SINGLE_PAIR_REQUIRED));
    }
    if let Some(template) = other_mode {
        Report::new(sa, FailureCause::Mode)
            .child(&template.name)
            .offered(format!("by the peer: tunnel mode for {} === {}", list(tsi), list(tsr)))
            .wanted("transport mode")
            .remedy("let `mode` be the same on both sides")
            .send(cx);
        // Whatever of the request but its selectors cannot be accepted is told so (RFC 7296 §3.10.1).
        return Err(notify(NotifyType::NO_PROPOSAL_CHOSEN));
    }
    let ours = |c: &Arc<Child>| format!("{} === {}", list(&c.remote_ts), list(&c.local_ts));
    Report::new(sa, FailureCause::Selectors)
        .offered(format!("by the peer: {} === {}", list(tsi), list(tsr)))
        .wanted(format!("a subset of {}", list(connection.children.iter().map(ours))))
        .remedy("let `local_ts` and `remote_ts` of both sides mirror each other, or at least overlap")
        .send(cx);
    Err(notify(NotifyType::TS_UNACCEPTABLE))
}

/// The initiator may well delete what it gets: says why, in advance.
fn declined(cx: &mut Ctx, sa: &IkeSa, template: &Child, granted: &Selector) {
    Report::new(sa, FailureCause::Mode)
        .child(&template.name)
        .offered(format!("by the peer: transport mode for {} === {}", list(&granted.remote), list(&granted.local)))
        .wanted("tunnel mode, which is what the peer was answered")
        .remedy("let `mode` be the same on both sides")
        .send(cx);
}

enum NoGrant {
    Nothing,
    SinglePairRequired,
}

/// What both sides want, at most as much as a TS payload holds: any subset will do (RFC 7296 §2.9).
fn grant(sa: &IkeSa, template: &Child, proposed: &Proposed, place: &Place) -> Result<Selector, NoGrant> {
    let configured = Selector { local: template.local_ts.clone(), remote: template.remote_ts.clone() };
    // What was negotiated once stays within what is configured now, wherever the peer went.
    let within = |taken: &Selector| configured.intersect(taken).ok_or(NoGrant::Nothing);
    let (policy, populated) = match place {
        Place::Rekey { taken: Some(taken), .. } if template.mode == Mode::Transport => {
            (within(&transport::moved(sa, taken))?, true)
        }
        Place::Rekey { taken: Some(taken), .. } => (within(taken)?, true),
        _ => (configured, false),
    };
    let policy = match template.mode {
        Mode::Transport => transport::between_hosts(sa, &policy).ok_or(NoGrant::Nothing)?,
        Mode::Tunnel => policy,
    };
    let Selector { local, remote } = &proposed.selector;
    let common = |limits: Option<(TrafficSelector, TrafficSelector)>| {
        let side = |sent: &[TrafficSelector], configured: &[TrafficSelector], limit: Option<TrafficSelector>| {
            let mut common = match limit {
                Some(limit) => narrow(sent, &narrow(configured, &[limit])),
                None => narrow(sent, configured),
            };
            common.truncate(TRAFFIC_SELECTORS);
            common
        };
        let local = side(local, &policy.local, limits.map(|(local, _)| local));
        let remote = side(remote, &policy.remote, limits.map(|(_, remote)| remote));
        (!local.is_empty() && !remote.is_empty()).then_some(Selector { local, remote })
    };
    let granted = common(None).ok_or(NoGrant::Nothing)?;
    if template.pfp.is_none() || populated {
        return Ok(granted);
    }
    // The first selectors are those of the packet that asks, if there is one (RFC 7296 §2.9): they are what an SA is
    // populated from (RFC 4301 §4.4.1.2).
    let pfp = template.pfp;
    let limit = |sent: &[TrafficSelector], address: bool, port: bool| {
        let first = sent.first().copied();
        let any = if first.is_none_or(|ts| ts.addresses.is_ipv4()) { AddrRange::ANY_V4 } else { AddrRange::ANY_V6 };
        let all = TrafficSelector::any(any);
        first.filter(|ts| ts.addresses.is_host()).map_or(all, |packet| TrafficSelector {
            addresses: if address { packet.addresses } else { any },
            protocol: if pfp.protocol || pfp.needs_ports() { packet.protocol } else { 0 },
            ports: if port { packet.ports } else { PortRange::ANY },
        })
    };
    let limits = (limit(local, pfp.local_address, pfp.local_port), limit(remote, pfp.remote_address, pfp.remote_port));
    let granted = common(Some(limits)).unwrap_or(granted);
    let is_single = |side: &[TrafficSelector]| {
        side.iter()
            .all(|ts| ts.addresses.is_host() && side.first().is_some_and(|first| first.addresses == ts.addresses))
    };
    let is_narrow =
        (!pfp.local_address || is_single(&granted.local)) && (!pfp.remote_address || is_single(&granted.remote));
    if is_narrow { Ok(granted) } else { Err(NoGrant::SinglePairRequired) }
}
