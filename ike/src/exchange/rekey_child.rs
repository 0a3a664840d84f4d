//! CREATE_CHILD_SA that rekeys a Child SA (RFC 7296 §1.3.3, §2.8).
//!
//! ```text
//! HDR, SK {N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr} -->
//!        <-- HDR, SK {SA, Nr, [KEr,] TSi, TSr}          responder: receives on both pairs, sends on the old one
//!                                                       initiator: receives on both pairs, sends on the new one
//! HDR, SK {D(old)} -->                                  responder: sends on the new pair
//!        <-- HDR, SK {D(old)}
//! ```

use std::time::Duration;

use crate::crypto::kex::Offer;
use crate::crypto::key_schedule::Nonces;
use crate::endpoint::context::Ctx;
use crate::event::DownReason;
use crate::exchange::child::{self, Origin};
use crate::exchange::child_choice::{self, Place};
use crate::exchange::child_offer::{ChildOffer, Unacceptable};
use crate::exchange::failure::{Failure, broken, notify};
use crate::exchange::informational;
use crate::exchange::wish::Wish;
use crate::exchange::{InFlight, Task};
use crate::limits::{MAX_CHILDREN, REKEY_RETRY, TEMPORARY_FAILURE_WAIT};
use crate::message::payload::{Ke, Nonce, Notify};
use crate::message::{ExchangeType, KeId, MessageBuilder, NotifyType, Opened, Payload};
use crate::output::{Activation, ChildId};
use crate::sa::IkeSa;
use crate::sa::timers::jittered;
use crate::status::ChildState;

/// Our request.
#[derive(Debug)]
pub(crate) struct RekeyChild {
    old: ChildId,
    offer: ChildOffer,
    ni: Vec<u8>,
    kex: Option<Offer>,
    /// Groups tried so far.
    tried: Vec<u16>,
}

/// Asks for a successor, unless the child is gone or has one.
pub(crate) fn start(cx: &mut Ctx, sa: &mut IkeSa, old: ChildId) {
    let Some(child) = sa.children.find(old).filter(|child| child.state == ChildState::Installed) else { return };
    let wish = Wish::like(child);
    let Some(offer) = ChildOffer::in_create_child_sa(cx, sa, wish) else {
        // The path leads to a host that is not meant any more.
        return informational::start_delete_child(cx, sa, old, DownReason::Failed);
    };
    if let Some(child) = sa.children.find_mut(old) {
        child.state = ChildState::Rekeying;
    }
    let kex = offer.key_exchange(cx, &[], None);
    RekeyChild { old, offer, ni: cx.nonce(), kex, tried: Vec::new() }.send(cx, sa);
}

impl RekeyChild {
    pub(crate) fn old(&self) -> ChildId {
        self.old
    }

    fn send(mut self, cx: &mut Ctx, sa: &mut IkeSa) {
        let Some(old) = sa.children.find(self.old) else { return };
        sa.deleted_early.clear();
        let mut request = sa.request(ExchangeType::CREATE_CHILD_SA);
        // Named by the SPI that the sender would expect in inbound packets (RFC 7296 §1.3.3).
        request.push(&Payload::Notify(Notify::about_esp(NotifyType::REKEY_SA, old.spi_in)));
        self.offer.push_sa(&mut request);
        request.push(&Payload::Nonce(Nonce(&self.ni)));
        if let Some(kex) = &self.kex {
            self.tried.push(kex.group().id);
            request.push(&Payload::Ke(Ke { method: KeId(kex.group().id), data: kex.public() }));
        }
        self.offer.push_ts(&mut request);
        sa.send_request(cx, &request, InFlight::RekeyChild(self));
    }

    pub(crate) fn finish(self, cx: &mut Ctx, sa: &mut IkeSa, reply: &Opened<'_>) -> Result<(), Failure> {
        let payloads = reply.payloads();
        if let Some(error) = payloads.error() {
            self.failed(cx, sa, error);
            return Ok(());
        }
        let nr = payloads.nonce()?.0;
        let both = self.offer.accept(sa, payloads).and_then(|agreed| {
            let shared = child::complete_key_exchange(self.kex, &agreed.suite, payloads);
            Ok((agreed, shared.ok_or(Unacceptable::NotOffered)?))
        });
        let (agreed, shared) = match both {
            Ok(both) => both,
            Err(why) => {
                retry(cx, sa, self.old, REKEY_RETRY);
                self.offer.reject(cx, sa, why);
                return Ok(());
            }
        };
        if sa.deleted_early.contains(&agreed.spi_out) {
            // The peer made it and deleted it again before we heard of it: the old pair stands.
            retry(cx, sa, self.old, REKEY_RETRY);
            return Ok(());
        }
        // The peer may have deleted the old pair meanwhile: then the new one stands for itself.
        let replaces = sa.children.find(self.old).map(|child| child.id);
        let nonces = Nonces { ni: &self.ni, nr };
        let origin = Origin { shared, nonces, initiator: true, replaces, activation: Activation::Now };
        child::install(cx, sa, agreed, origin);
        if let Some(old) = replaces {
            sa.queue.push_front(Task::DeleteChild(old, DownReason::Rekeyed));
        }
        Ok(())
    }

    fn failed(self, cx: &mut Ctx, sa: &mut IkeSa, error: &Notify<'_>) {
        match error.kind {
            NotifyType::INVALID_KE_PAYLOAD => {
                let kex = self.offer.key_exchange(cx, &self.tried, Some(error.accepted_ke().map_or(0, |ke| ke.0)));
                if kex.is_some() && sa.children.find(self.old).is_some() {
                    return Self { kex, ..self }.send(cx, sa);
                }
                self.offer.refused(cx, sa, error.kind);
                retry(cx, sa, self.old, REKEY_RETRY);
            }
            NotifyType::TEMPORARY_FAILURE => retry(cx, sa, self.old, TEMPORARY_FAILURE_WAIT),
            // The peer has no such SA, so neither have we; what it was for still needs one (RFC 7296 §2.25.1).
            NotifyType::CHILD_SA_NOT_FOUND => {
                if let Some(lost) = sa.children.find(self.old) {
                    let wish = Wish::for_traffic_of(lost);
                    sa.remove_child(cx, self.old, DownReason::PeerDeleted);
                    // Of several with the same selectors, the others serve; traffic asks again.
                    if self.offer.wish.number().is_none() || !wish.is_met(&sa.children) {
                        sa.push(cx, Task::CreateChild(wish));
                    }
                }
            }
            // The old pair serves on until its hard limit (RFC 7296 §2.8).
            other => {
                self.offer.refused(cx, sa, other);
                retry(cx, sa, self.old, REKEY_RETRY);
            }
        }
    }
}

/// Tries again, after a while that is longer by a random part so that two sides do not meet again.
fn retry(cx: &mut Ctx, sa: &mut IkeSa, old: ChildId, wait: Duration) {
    let wait = jittered(&mut *cx.rng, wait * 2, wait);
    sa.children.rekey_later(old, cx.now.instant, wait);
}

/// Answers the peer's request for a successor: receives on the new pair at once, sends on the old one until the peer
/// shows that it has the new one.
///
/// # Errors
/// TEMPORARY_FAILURE while we are rekeying or deleting it ourselves (RFC 7296 §2.25.1), and as for a new Child SA.
pub(crate) fn respond(cx: &mut Ctx, sa: &mut IkeSa, request: &Opened<'_>) -> Result<MessageBuilder, Failure> {
    let payloads = request.payloads();
    let ni = payloads.nonce()?.0;
    let ke = payloads.ke_opt()?;
    let named = payloads.notify(NotifyType::REKEY_SA).and_then(|notify| notify.spi.esp());
    let Some(spi) = named else { return Err(broken()) };
    let mut response = MessageBuilder::new(request.header().reply());
    let (Some(connection), Some(old)) = (sa.connection.clone(), sa.children.by_peer_spi(spi)) else {
        // Perhaps one that the peer just made, in a response that its request overtook.
        if sa.in_flight.as_ref().is_some_and(InFlight::makes_child) {
            return Err(notify(NotifyType::TEMPORARY_FAILURE));
        }
        child::not_found(&mut response, spi);
        return Ok(response);
    };
    if old.state != ChildState::Installed {
        return Err(notify(NotifyType::TEMPORARY_FAILURE));
    }
    if sa.children.len() >= MAX_CHILDREN {
        return Err(notify(NotifyType::NO_ADDITIONAL_SAS));
    }
    let (template, taken) = (old.template.clone(), Wish::like(old).taken());
    let place = Place::Rekey { taken, resource: old.resource, spi_in: old.spi_in };
    let old = old.id;
    let choice = child_choice::choose(cx, sa, &connection, &[template], payloads, place)?;
    let (own_ke, shared) = child::answer_key_exchange(cx, &choice.agreed.suite, ke)?.unzip();
    let nr = cx.nonce();

    choice.push_sa(&mut response);
    response.push(&Payload::Nonce(Nonce(&nr)));
    if let Some(ke) = own_ke {
        ke.push(&mut response);
    }
    choice.push_ts(&mut response);
    let nonces = Nonces { ni, nr: &nr };
    let origin = Origin { shared, nonces, initiator: false, replaces: Some(old), activation: Activation::OnUse };
    child::install(cx, sa, choice.agreed, origin);
    Ok(response)
}
