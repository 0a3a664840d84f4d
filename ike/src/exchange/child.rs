//! What all ways to a Child SA have in common once both sides agree: the key exchange, and the installation of the new
//! pair (RFC 7296 §2.17).

use std::net::IpAddr;
use std::sync::Arc;

use cygnet_esp::Spi;
use cygnet_spd::{Mode, TrafficSelector};

use crate::config::Child;
use crate::crypto::kex::Offer;
use crate::crypto::key_schedule::{ChildKeys, DirectionKeys, KeyLengths, Nonces};
use crate::endpoint::context::Ctx;
use crate::event::{Event, SessionKeys};
use crate::exchange::failure::{Failure, broken};
use crate::exchange::per_resource::Part;
use crate::message::payload::{Ke, Notify};
use crate::message::{Chain, KeId, MessageBuilder, NotifyType, Payload};
use crate::output::{Activation, ChildId, ChildInstall, HalfSa};
use crate::proposal::EspSuite;
use crate::sa::IkeSa;
use crate::sa::children::ChildSa;
use crate::sa::timers::jittered;
use crate::secret::Secret;
use crate::status::ChildState;

/// What both sides agreed upon.
pub(crate) struct Agreed {
    pub(crate) template: Arc<Child>,
    pub(crate) suite: EspSuite,
    pub(crate) spi_in: Spi,
    pub(crate) spi_out: Spi,
    pub(crate) local_ts: Vec<TrafficSelector>,
    pub(crate) remote_ts: Vec<TrafficSelector>,
    pub(crate) mode: Mode,
    /// Our and the peer's address before translation (RFC 7296 §2.23.1).
    pub(crate) original: Option<(IpAddr, IpAddr)>,
    /// The peer wants one pair of addresses in each SA.
    pub(crate) single_pair: bool,
    /// Its place among several with the same selectors, if both sides want several (RFC 9611).
    pub(crate) part: Option<Part>,
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
    let Agreed { template, suite, spi_in, spi_out, local_ts, remote_ts, mode, original, single_pair, part } = agreed;
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
    let resource = part.map(|part| part.of(id));
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
        mode,
        single_pair,
        resource,
        state: ChildState::Installed,
        successor: None,
        unconfirmed: activation == Activation::OnUse,
        installed: now,
        began: replaces.and_then(|old| sa.children.find(old)).map_or(now, |old| old.began),
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
        mode,
        original,
        path: sa.path,
        udp_encapsulation,
        replaces,
        resource,
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
