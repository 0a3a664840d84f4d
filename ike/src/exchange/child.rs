//! What all ways to a Child SA have in common: offer and choice of algorithms and traffic selectors (RFC 7296 §2.7,
//! §2.9), and the installation of the new pair (RFC 7296 §2.17).

use std::sync::Arc;

use cygnet_esp::Spi;
use cygnet_spd::{Flow, Mode, TrafficSelector, narrow};

use crate::config::{Child, Connection};
use crate::crypto::kex::Offer;
use crate::crypto::key_schedule::{ChildKeys, DirectionKeys, KeyLengths, Nonces};
use crate::endpoint::context::Ctx;
use crate::event::{Event, FailureCause, SessionKeys};
use crate::exchange::failure::{Failure, Report, broken, list, notify};
use crate::exchange::offer::{self, Choice};
use crate::limits::TRAFFIC_SELECTORS;
use crate::message::payload::{Ke, Notify, Ts, WireSpi};
use crate::message::{Chain, KeId, MessageBuilder, NotifyType, Payload};
use crate::output::{Activation, ChildId, ChildInstall, HalfSa};
use crate::proposal::{self, EspSuite, Proposal};
use crate::sa::IkeSa;
use crate::sa::children::ChildSa;
use crate::sa::timers::jittered;
use crate::secret::Secret;
use crate::status::ChildState;

/// An initiator's offer of a Child SA.
#[derive(Debug)]
pub(crate) struct ChildOffer {
    pub(crate) template: Arc<Child>,
    pub(crate) spi_in: Spi,
    proposals: Vec<Proposal>,
    local_ts: Vec<TrafficSelector>,
    remote_ts: Vec<TrafficSelector>,
}

/// What both sides agreed upon.
pub(crate) struct Agreed {
    pub(crate) template: Arc<Child>,
    pub(crate) suite: EspSuite,
    pub(crate) spi_in: Spi,
    pub(crate) spi_out: Spi,
    pub(crate) local_ts: Vec<TrafficSelector>,
    pub(crate) remote_ts: Vec<TrafficSelector>,
}

impl ChildOffer {
    /// In IKE_AUTH, whose Child SA has no key exchange of its own (RFC 7296 §1.2).
    pub(crate) fn in_ike_auth(cx: &mut Ctx, template: Arc<Child>, flow: Option<Flow>) -> Self {
        let proposals = template.proposals.iter().map(Proposal::without_groups).collect();
        Self::new(cx, template, proposals, flow)
    }

    /// In CREATE_CHILD_SA.
    pub(crate) fn in_create_child_sa(cx: &mut Ctx, template: Arc<Child>, flow: Option<Flow>) -> Self {
        let proposals = template.proposals.clone();
        Self::new(cx, template, proposals, flow)
    }

    /// The packet that asked for the SA, if there is one, goes in front of the configured selectors, so that the
    /// responder can choose a subset that holds it (RFC 7296 §2.9).
    fn new(cx: &mut Ctx, template: Arc<Child>, proposals: Vec<Proposal>, flow: Option<Flow>) -> Self {
        let packet = flow.map(|flow| flow.selectors());
        let with = |first: Option<TrafficSelector>, rest: &[TrafficSelector]| {
            first.into_iter().chain(rest.iter().copied()).collect()
        };
        let local_ts = with(packet.map(|(local, _)| local), &template.local_ts);
        let remote_ts = with(packet.map(|(_, remote)| remote), &template.remote_ts);
        Self { spi_in: cx.spis.esp(), template, proposals, local_ts, remote_ts }
    }

    pub(crate) fn push_sa(&self, request: &mut MessageBuilder) {
        request.push(&Payload::Sa(offer::offer(&self.proposals, WireSpi::Esp(self.spi_in))));
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

    /// Takes the responder's choice. `None` if it is not among what we offered.
    pub(crate) fn accept(&self, payloads: &Chain<'_>) -> Option<Agreed> {
        let (suite, spi) = offer::accept::<EspSuite>(payloads.sa().ok()?, &self.proposals)?;
        let within = |ts: &Ts<'_>, ours: &[TrafficSelector]| {
            let all = ts.selectors.iter().all(|ts| ours.iter().any(|own| own.contains(ts)));
            (all && !ts.selectors.is_empty()).then(|| ts.selectors.clone())
        };
        Some(Agreed {
            template: self.template.clone(),
            suite,
            spi_in: self.spi_in,
            spi_out: spi.esp().filter(|spi| *spi >= Spi::MIN)?,
            local_ts: within(payloads.ts_i().ok()?, &self.local_ts)?,
            remote_ts: within(payloads.ts_r().ok()?, &self.remote_ts)?,
        })
    }

    /// Says why there is no Child SA. The IKE SA lives on (RFC 7296 §1.2, §2.21.3).
    pub(crate) fn refused(&self, cx: &mut Ctx, sa: &IkeSa, kind: NotifyType) {
        let (cause, remedy) = match kind {
            NotifyType::NO_PROPOSAL_CHOSEN => {
                (FailureCause::NoProposal, "give both sides one ESP proposal in common (`esp_proposals`)".to_owned())
            }
            NotifyType::TS_UNACCEPTABLE => (
                FailureCause::Selectors,
                "let our `local_ts` overlap with the peer's remote selectors, and `remote_ts` with its local ones"
                    .to_owned(),
            ),
            other => (FailureCause::Notified(other.0), format!("the peer answered {other}: check its log")),
        };
        let offered = match cause {
            FailureCause::NoProposal => proposal::list(&self.proposals),
            _ => format!("{} === {}", list(&self.local_ts), list(&self.remote_ts)),
        };
        Report::new(sa, cause)
            .child(&self.template.name)
            .offered(format!("by us: {offered}"))
            .wanted(format!("the peer answered {kind}"))
            .remedy(remedy)
            .send(cx);
        if let Some(connection) = &sa.connection {
            cx.changed(connection);
        }
    }
}

/// A responder's choice of a Child SA.
pub(crate) struct ChildChoice<'a> {
    pub(crate) agreed: Agreed,
    choice: Choice<'a, EspSuite>,
}

impl ChildChoice<'_> {
    pub(crate) fn push_sa(&self, response: &mut MessageBuilder) {
        response.push(&Payload::Sa(self.choice.answer(WireSpi::Esp(self.agreed.spi_in))));
    }

    pub(crate) fn push_ts(&self, response: &mut MessageBuilder) {
        response.push(&Payload::TsI(Ts::from(&*self.agreed.remote_ts)));
        response.push(&Payload::TsR(Ts::from(&*self.agreed.local_ts)));
    }
}

/// As responder, chooses a template, its selectors narrowed to what both sides want, and algorithms.
///
/// # Errors
/// NO_PROPOSAL_CHOSEN or TS_UNACCEPTABLE, after an event that explains it.
pub(crate) fn choose<'a>(
    cx: &mut Ctx,
    sa: &IkeSa,
    connection: &Connection,
    templates: &[Arc<Child>],
    payloads: &Chain<'a>,
    with_groups: bool,
) -> Result<ChildChoice<'a>, Failure> {
    let (offered, tsi, tsr) = (payloads.sa()?, &payloads.ts_i()?.selectors, &payloads.ts_r()?.selectors);
    // Peers that list groups in IKE_AUTH, where there is no key exchange, mean those of later rekeys (RFC 7296 §1.2).
    let offered = &if with_groups { offered.clone() } else { offer::without_groups(offered) };
    let mut fitting: Vec<_> = templates
        .iter()
        .map(|template| (template, grant(tsr, &template.local_ts), grant(tsi, &template.remote_ts)))
        .filter(|(_, local, remote)| !local.is_empty() && !remote.is_empty())
        .collect();
    // Among several, one that grants all that was asked; else the first.
    fitting.sort_by_key(|(_, local, remote)| !(local == tsr && remote == tsi));
    let mut miss = None;
    for (template, local_ts, remote_ts) in fitting {
        let proposals: Vec<Proposal> = match with_groups {
            true => template.proposals.clone(),
            false => template.proposals.iter().map(Proposal::without_groups).collect(),
        };
        match offer::choose::<EspSuite>(offered, &proposals) {
            Ok(choice) => {
                let Some(spi_out) = choice.spi.esp() else { return Err(broken()) };
                let (suite, spi_in) = (choice.suite, cx.spis.esp());
                let agreed = Agreed { template: template.clone(), suite, spi_in, spi_out, local_ts, remote_ts };
                return Ok(ChildChoice { agreed, choice });
            }
            Err(no_proposal) => miss = Some((template.name.clone(), no_proposal)),
        }
    }
    let Some((child, miss)) = miss else {
        let ours = |c: &Arc<Child>| format!("{} === {}", list(&c.remote_ts), list(&c.local_ts));
        Report::new(sa, FailureCause::Selectors)
            .offered(format!("by the peer: {} === {}", list(tsi), list(tsr)))
            .wanted(format!("a subset of {}", list(connection.children.iter().map(ours))))
            .remedy("let `local_ts` and `remote_ts` of both sides mirror each other, or at least overlap")
            .send(cx);
        return Err(notify(NotifyType::TS_UNACCEPTABLE));
    };
    Report::new(sa, FailureCause::NoProposal)
        .child(&child)
        .offered(format!("by the peer: {}", miss.offered))
        .wanted(miss.wanted)
        .remedy(format!("add a common algorithm to `esp_proposals` on one side ({})", miss.difference))
        .send(cx);
    Err(notify(NotifyType::NO_PROPOSAL_CHOSEN))
}

/// What both sides want, at most as much as a TS payload holds: any subset will do (RFC 7296 §2.9).
fn grant(proposed: &[TrafficSelector], configured: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let mut common = narrow(proposed, configured);
    common.truncate(TRAFFIC_SELECTORS);
    common
}

/// As responder, answers the peer's key exchange as the chosen suite demands: our KE data and the shared secret.
///
/// # Errors
/// INVALID_KE_PAYLOAD with the group we want instead (RFC 7296 §1.3); INVALID_SYNTAX.
pub(crate) fn answer_key_exchange(
    cx: &mut Ctx,
    suite: &EspSuite,
    ke: Option<&Ke<'_>>,
) -> Result<Option<(OwnKe, Secret)>, Failure> {
    let Some(kex) = suite.kex else { return Ok(None) };
    let Some(ke) = ke.filter(|ke| ke.method.0 == kex.id) else {
        return Err(Failure::Notify(NotifyType::INVALID_KE_PAYLOAD, kex.id.to_be_bytes().to_vec()));
    };
    let (data, shared) = kex.answer(&mut *cx.rng, ke.data).map_err(|_| broken())?;
    Ok(Some((OwnKe { method: ke.method, data }, shared)))
}

/// Our half of a key exchange, to be sent.
pub(crate) struct OwnKe {
    method: KeId,
    data: Vec<u8>,
}

impl OwnKe {
    pub(crate) fn push(&self, message: &mut MessageBuilder) {
        message.push(&Payload::Ke(Ke { method: self.method, data: &self.data }));
    }
}

/// As initiator, completes a key exchange with the responder's KE payload. `None` if it does not fit.
#[allow(clippy::option_option)]
pub(crate) fn complete_key_exchange(
    kex: Option<Offer>,
    suite: &EspSuite,
    payloads: &Chain<'_>,
) -> Option<Option<Secret>> {
    let Some(chosen) = suite.kex else { return Some(None) };
    let kex = kex.filter(|kex| kex.group().id == chosen.id)?;
    let ke = payloads.ke().ok().filter(|ke| ke.method.0 == chosen.id)?;
    kex.complete(ke.data).ok().map(Some)
}

/// How a new pair comes to be.
pub(crate) struct Origin<'a> {
    pub(crate) shared: Option<Secret>,
    pub(crate) nonces: Nonces<'a>,
    /// Whether we started the exchange: decides whose keys are whose (RFC 7296 §2.17).
    pub(crate) initiator: bool,
    pub(crate) replaces: Option<ChildId>,
    pub(crate) activation: Activation,
}

/// Derives the keys of a new pair and hands it out for installation.
pub(crate) fn install(cx: &mut Ctx, sa: &mut IkeSa, agreed: Agreed, origin: Origin<'_>) -> Option<ChildId> {
    let Agreed { template, suite, spi_in, spi_out, local_ts, remote_ts } = agreed;
    let Origin { shared, nonces, initiator, replaces, activation } = origin;
    let (connection, secured) = (sa.connection.clone()?, sa.phase.secured()?);
    let ChildKeys { initiator: i, responder: r } =
        secured.sk_d.child_keys(KeyLengths::from(suite.encr), shared, nonces);
    let (outbound, inbound) = if initiator { (i, r) } else { (r, i) };
    let udp_encapsulation = sa.encapsulates();
    report_keys(cx, sa, &suite, [(false, spi_in, &inbound), (true, spi_out, &outbound)]);

    let (now, lifetime) = (cx.now.instant, template.lifetime);
    let rekey_in = lifetime.rekey_time.map(|time| jittered(&mut *cx.rng, time, lifetime.rekey_jitter));
    let expires_in = lifetime.life_time;
    let id = cx.spis.child();
    sa.children.push(ChildSa {
        id,
        template: template.clone(),
        spi_in,
        spi_out,
        encr: suite.encr,
        group: suite.kex.map(|kex| kex.id),
        esn: suite.esn,
        udp_encapsulation,
        local_ts: local_ts.clone(),
        remote_ts: remote_ts.clone(),
        state: ChildState::Installed,
        successor: None,
        unconfirmed: activation == Activation::OnUse,
        installed: now,
        rekey_at: rekey_in.map(|time| now + time),
        expires_at: expires_in.map(|time| now + time),
    });
    let half = |spi, keys: DirectionKeys| HalfSa { spi, encr_key: keys.encr, integ_key: keys.integ };
    cx.install(ChildInstall {
        id,
        ike: sa.id,
        connection: connection.clone(),
        child: template,
        inbound: half(spi_in, inbound),
        outbound: half(spi_out, outbound),
        encr: suite.encr,
        esn: suite.esn,
        local_ts,
        remote_ts,
        mode: Mode::Tunnel,
        original: None,
        path: sa.path,
        udp_encapsulation,
        replaces,
        activation,
        rekey_in,
        expires_in,
    });
    match replaces {
        None => cx.event(Event::ChildUp(id)),
        Some(old) => {
            if let Some(old) = sa.children.find_mut(old) {
                old.state = ChildState::Rekeyed;
                old.successor = Some(id);
            }
            sa.retarget(old, id);
            cx.event(Event::ChildRekeyed { old, new: id });
        }
    }
    cx.changed(&connection);
    Some(id)
}

fn report_keys(cx: &mut Ctx, sa: &IkeSa, suite: &EspSuite, halves: [(bool, Spi, &DirectionKeys); 2]) {
    if !cx.config.report_keys {
        return;
    }
    for (outbound, spi, keys) in halves {
        let copy = |key: &Secret| Secret::new(key.expose().to_vec());
        cx.event(Event::Keys(SessionKeys::Esp {
            path: sa.path,
            outbound,
            spi,
            encr: suite.encr.wireshark_esp.encr,
            encr_key: copy(&keys.encr),
            integ: suite.encr.wireshark_esp.integ,
            integ_key: copy(&keys.integ),
        }));
    }
}

/// CHILD_SA_NOT_FOUND names the SA that was not found (RFC 7296 §2.25).
pub(crate) fn not_found(response: &mut MessageBuilder, spi: Spi) {
    response.push(&Payload::Notify(Notify::about_esp(NotifyType::CHILD_SA_NOT_FOUND, spi)));
}
