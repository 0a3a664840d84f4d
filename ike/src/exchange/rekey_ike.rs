//! CREATE_CHILD_SA that rekeys the IKE SA (RFC 7296 §1.3.2, §2.8, §2.18). The children move to the successor.
//!
//! ```text
//! HDR, SK {SA(new SPIi), Ni, KEi} -->
//!        <-- HDR, SK {SA(new SPIr), Nr, KEr}
//! HDR, SK {D(IKE)} -->                            on the old SA
//!        <-- HDR, SK {}
//! ```

use std::sync::Arc;

use crate::config::Connection;
use crate::crypto::kex::Offer;
use crate::crypto::key_schedule::{KeyLengths, Nonces, SkeySeed};
use crate::endpoint::context::{Ctx, Effect};
use crate::event::{DownReason, Event, FailureCause};
use crate::exchange::failure::{Failure, Report, broken, notify};
use crate::exchange::{InFlight, Task, offer};
use crate::limits::{HALF_OPEN_LIFETIME, REKEY_RETRY, TEMPORARY_FAILURE_WAIT};
use crate::message::payload::{Ke, Nonce, Notify, WireSpi};
use crate::message::{ExchangeType, IkeSpi, KeId, MessageBuilder, NotifyType, Opened, Payload};
use crate::output::IkeSaId;
use crate::proposal::{self, IkeSuite};
use crate::sa::keys::secure;
use crate::sa::phase::{Established, Phase};
use crate::sa::timers::{Timer, jittered};
use crate::sa::window::Window;
use crate::sa::{IkeSa, Origin};
use crate::secret::Secret;
use crate::status::IkeAlgorithms;

/// Our request.
#[derive(Debug)]
pub(crate) struct RekeyIke {
    spi: IkeSpi,
    ni: Vec<u8>,
    kex: Offer,
    /// Groups tried so far.
    tried: Vec<u16>,
    /// As it was when the proposals were offered.
    connection: Arc<Connection>,
}

/// Asks for a successor.
pub(crate) fn start(cx: &mut Ctx, sa: &mut IkeSa) {
    let Some(connection) = sa.connection.clone() else { return };
    // The group in use first: the peer is known to take it.
    let current = sa.phase.secured().map_or(0, |secured| secured.algorithms.group);
    let group = proposal::retry_group(&connection.proposals, &[], current)
        .or_else(|| proposal::first_group(&connection.proposals));
    let Some(kex) = group.and_then(|group| group.offer(&mut *cx.rng).ok()) else { return };
    let (spi, ni) = (cx.ike_spi(), cx.nonce());
    RekeyIke { spi, ni, kex, tried: Vec::new(), connection }.send(cx, sa);
}

impl RekeyIke {
    fn send(mut self, cx: &mut Ctx, sa: &mut IkeSa) {
        let mut request = sa.request(ExchangeType::CREATE_CHILD_SA);
        request.push(&Payload::Sa(offer::offer(&self.connection.proposals, WireSpi::Ike(self.spi))));
        request.push(&Payload::Nonce(Nonce(&self.ni)));
        let group = self.kex.group().id;
        request.push(&Payload::Ke(Ke { method: KeId(group), data: self.kex.public() }));
        self.tried.push(group);
        sa.send_request(cx, &request, InFlight::RekeyIke(self));
    }

    pub(crate) fn finish(self, cx: &mut Ctx, sa: &mut IkeSa, reply: &Opened<'_>) -> Result<(), Failure> {
        let payloads = reply.payloads();
        if let Some(error) = payloads.error() {
            self.failed(cx, sa, error);
            return Ok(());
        }
        let (nr, ke) = (payloads.nonce()?.0, payloads.ke()?);
        let accepted = offer::accept::<IkeSuite>(payloads.sa()?, &self.connection.proposals)
            .and_then(|(suite, spi)| Some((suite, spi.ike().filter(|spi| !spi.is_zero())?)))
            .filter(|(suite, _)| suite.kex.id == ke.method.0 && suite.kex == self.kex.group());
        let Some((suite, spi_r)) = accepted else { return Err(broken()) };
        let Ok(shared) = self.kex.complete(ke.data) else { return Err(broken()) };
        let spis = (self.spi, spi_r);
        succeed(cx, sa, New { initiator: true, spis, suite, shared, nonces: Nonces { ni: &self.ni, nr } });
        sa.queue.push_front(Task::DeleteIke(DownReason::Rekeyed));
        Ok(())
    }

    fn failed(self, cx: &mut Ctx, sa: &mut IkeSa, error: &Notify<'_>) {
        let proposals = &self.connection.proposals;
        let wait = match error.kind {
            NotifyType::INVALID_KE_PAYLOAD => {
                let asked = error.accepted_ke().map_or(0, |ke| ke.0);
                let group = proposal::retry_group(proposals, &self.tried, asked);
                if let Some(kex) = group.and_then(|group| group.offer(&mut *cx.rng).ok()) {
                    return Self { kex, ..self }.send(cx, sa);
                }
                REKEY_RETRY
            }
            NotifyType::TEMPORARY_FAILURE => TEMPORARY_FAILURE_WAIT,
            other => {
                Report::new(sa, FailureCause::Notified(other.0))
                    .offered(format!("by us, to rekey the IKE SA: {}", proposal::list(proposals)))
                    .wanted(format!("the peer answered {other}"))
                    .remedy("check the peer's log; until it agrees, the old SA serves")
                    .send(cx);
                REKEY_RETRY
            }
        };
        let wait = jittered(&mut *cx.rng, wait * 2, wait);
        sa.timers.set(Timer::Rekey, cx.now.instant + wait);
    }
}

/// Answers the peer's request for a successor.
///
/// # Errors
/// TEMPORARY_FAILURE while we have a request of our own about children (RFC 7296 §2.25.2); NO_PROPOSAL_CHOSEN,
/// INVALID_KE_PAYLOAD.
pub(crate) fn respond(cx: &mut Ctx, sa: &mut IkeSa, request: &Opened<'_>) -> Result<MessageBuilder, Failure> {
    let payloads = request.payloads();
    let (offered, ni, ke) = (payloads.sa()?, payloads.nonce()?.0, payloads.ke()?);
    let about_children =
        |e: &InFlight| matches!(e, InFlight::CreateChild(_) | InFlight::RekeyChild(_) | InFlight::DeleteChild(_));
    if sa.in_flight.as_ref().is_some_and(about_children) {
        return Err(notify(NotifyType::TEMPORARY_FAILURE));
    }
    let Some(connection) = sa.connection.clone() else { return Err(notify(NotifyType::TEMPORARY_FAILURE)) };
    let choice = match offer::choose::<IkeSuite>(offered, &connection.proposals) {
        Ok(choice) => choice,
        Err(miss) => {
            Report::new(sa, FailureCause::NoProposal)
                .offered(format!("by the peer, to rekey the IKE SA: {}", miss.offered))
                .wanted(miss.wanted)
                .remedy(format!("add a common algorithm to `proposals` on one side ({})", miss.difference))
                .send(cx);
            return Err(notify(NotifyType::NO_PROPOSAL_CHOSEN));
        }
    };
    let kex = choice.suite.kex;
    if ke.method.0 != kex.id {
        return Err(Failure::Notify(NotifyType::INVALID_KE_PAYLOAD, kex.id.to_be_bytes().to_vec()));
    }
    let Some(spi_i) = choice.spi.ike().filter(|spi| !spi.is_zero()) else {
        return Err(broken());
    };
    let (public, shared) = kex.answer(&mut *cx.rng, ke.data).map_err(|_| broken())?;
    let (spi_r, nr) = (cx.ike_spi(), cx.nonce());

    let mut response = MessageBuilder::new(request.header().reply());
    response.push(&Payload::Sa(choice.answer(WireSpi::Ike(spi_r))));
    response.push(&Payload::Nonce(Nonce(&nr)));
    response.push(&Payload::Ke(Ke { method: ke.method, data: &public }));
    let new =
        New { initiator: false, spis: (spi_i, spi_r), suite: choice.suite, shared, nonces: Nonces { ni, nr: &nr } };
    succeed(cx, sa, new);
    // The peer deletes the old SA; if it forgets, we do.
    sa.timers.set(Timer::Expire, cx.now.instant + HALF_OPEN_LIFETIME);
    Ok(response)
}

/// What makes the successor.
struct New<'a> {
    initiator: bool,
    spis: (IkeSpi, IkeSpi),
    suite: IkeSuite,
    shared: Secret,
    nonces: Nonces<'a>,
}

/// Makes the successor: fresh keys and message IDs, and all that the old SA had (RFC 7296 §2.8).
fn succeed(cx: &mut Ctx, old: &mut IkeSa, new: New<'_>) {
    let New { initiator, spis: (spi_i, spi_r), suite, shared, nonces } = new;
    let id: IkeSaId = cx.spis.ike();
    let Phase::Established(established) = &old.phase else { return };
    let seed = SkeySeed::rekeyed(&established.secured.sk_d, suite.prf, shared, nonces);
    let keys = seed.expand(KeyLengths::from(suite.encr), nonces, spi_i, spi_r);
    let algorithms = IkeAlgorithms { encr: suite.encr, prf: suite.prf.id, group: suite.kex.id };
    let (local_id, remote_id) = (established.local_id.clone(), established.remote_id.clone());
    let (secured, _) = secure(cx, keys, algorithms, initiator, (spi_i, spi_r));
    let mut sa = IkeSa::new(
        id,
        cx.now.instant,
        Origin {
            initiator,
            spi_i,
            spi_r,
            path: old.path,
            connection: old.connection.as_ref().map(Arc::clone),
            epoch: old.epoch,
            phase: Phase::Initiating(None),
            window: Window::default(),
        },
    );
    sa.birth = old.birth.clone();
    (sa.twin, sa.twin_asked, sa.confirmed) = (old.twin.take(), old.twin_asked, true);
    sa.peer = old.peer.clone();
    sa.nat = old.nat;
    sa.children = old.children.take();
    sa.queue = std::mem::take(&mut old.queue);
    sa.queue.retain(|task| !matches!(task, Task::RekeyIke | Task::Liveness));
    for child in sa.children.ids() {
        cx.adopt(child, id);
    }
    old.superseded = true;
    old.timers.stop_all();
    cx.event(Event::IkeRekeyed { old: old.id, new: id });
    sa.establish(cx, Established { secured, local_id, remote_id, since: cx.now.instant });
    cx.effect(Effect::Successor { old: old.id, new: Box::new(sa) });
    // Only now are the children where they belong.
    if let Some(connection) = &old.connection {
        cx.changed(connection);
    }
}
