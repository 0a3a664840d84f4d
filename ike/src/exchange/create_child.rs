//! CREATE_CHILD_SA for another Child SA (RFC 7296 §1.3.1).
//!
//! ```text
//! HDR, SK {SA, Ni, [KEi,] TSi, TSr} -->
//!        <-- HDR, SK {SA, Nr, [KEr,] TSi, TSr}
//!        <-- HDR, SK {N(INVALID_KE_PAYLOAD | NO_PROPOSAL_CHOSEN | TS_UNACCEPTABLE | NO_ADDITIONAL_SAS | ...)}
//! ```

use crate::crypto::kex::Offer;
use crate::crypto::key_schedule::Nonces;
use crate::endpoint::context::Ctx;
use crate::event::DownReason;
use crate::exchange::child::{self, Agreed, Origin};
use crate::exchange::child_choice::{self, Place};
use crate::exchange::child_offer::{ChildOffer, Unacceptable};
use crate::exchange::failure::{Failure, notify};
use crate::exchange::per_resource::{self, Part};
use crate::exchange::wish::Wish;
use crate::exchange::{InFlight, Task};
use crate::limits::{MAX_CHILDREN, TEMPORARY_FAILURE_WAIT};
use crate::message::payload::{Ke, Nonce};
use crate::message::{ExchangeType, KeId, MessageBuilder, NotifyType, Opened, Payload};
use crate::output::{Activation, Resource};
use crate::sa::IkeSa;
use crate::sa::timers::Timer;

/// Our request.
#[derive(Debug)]
pub(crate) struct CreateChild {
    offer: ChildOffer,
    ni: Vec<u8>,
    kex: Option<Offer>,
    /// Groups tried so far.
    tried: Vec<u16>,
}

/// Asks for a Child SA, unless there is one by now.
pub(crate) fn start(cx: &mut Ctx, sa: &mut IkeSa, wish: Wish) {
    if wish.is_met(&sa.children) || wish.joins().is_some_and(|with| !per_resource::is_possible(cx, sa, &wish, with)) {
        return;
    }
    let Some(offer) = ChildOffer::in_create_child_sa(cx, sa, wish) else { return };
    let kex = offer.key_exchange(cx, &[], None);
    CreateChild { offer, ni: cx.nonce(), kex, tried: Vec::new() }.send(cx, sa);
}

impl CreateChild {
    fn send(mut self, cx: &mut Ctx, sa: &mut IkeSa) {
        sa.deleted_early.clear();
        let mut request = sa.request(ExchangeType::CREATE_CHILD_SA);
        self.offer.push_sa(&mut request);
        request.push(&Payload::Nonce(Nonce(&self.ni)));
        if let Some(kex) = &self.kex {
            self.tried.push(kex.group().id);
            request.push(&Payload::Ke(Ke { method: KeId(kex.group().id), data: kex.public() }));
        }
        self.offer.push_ts(&mut request);
        sa.send_request(cx, &request, InFlight::CreateChild(self));
    }

    pub(crate) fn wish(&self) -> &Wish {
        &self.offer.wish
    }

    pub(crate) fn finish(self, cx: &mut Ctx, sa: &mut IkeSa, reply: &Opened<'_>) -> Result<(), Failure> {
        let payloads = reply.payloads();
        if let Some(error) = payloads.error() {
            match error.kind {
                NotifyType::INVALID_KE_PAYLOAD => {
                    let kex = self.offer.key_exchange(cx, &self.tried, Some(error.accepted_ke().map_or(0, |ke| ke.0)));
                    if kex.is_some() {
                        Self { kex, ..self }.send(cx, sa);
                        return Ok(());
                    }
                    self.offer.refused(cx, sa, error.kind);
                }
                NotifyType::TEMPORARY_FAILURE => {
                    let mut wish = self.offer.wish;
                    let Some(Resource { group, .. }) = wish.joins() else {
                        sa.queue.push_front(Task::CreateChild(wish));
                        sa.pause(cx, Timer::Queue, TEMPORARY_FAILURE_WAIT);
                        return Ok(());
                    };
                    // Nothing waits for it, and neither does it wait for ever.
                    match wish.postpone() {
                        true => {
                            sa.queue.push_front(Task::CreateChild(wish));
                            sa.pause(cx, Timer::Optional, TEMPORARY_FAILURE_WAIT);
                        }
                        false => per_resource::refused(cx, sa, group, error.kind),
                    }
                }
                other => {
                    self.offer.refused(cx, sa, other);
                    // A peer that makes no Child SAs but the first: a new IKE SA brings a new first one (RFC 7296 §1.3).
                    if other == NotifyType::NO_ADDITIONAL_SAS && sa.children.len() == 0 {
                        sa.close(cx, DownReason::Failed);
                    }
                }
            }
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
                self.offer.reject(cx, sa, why);
                return Ok(());
            }
        };
        if sa.deleted_early.contains(&agreed.spi_out) {
            // The peer made it and deleted it again before we heard of it.
            if let Some(resource) = self.offer.wish.joins() {
                per_resource::unwanted(cx, sa, resource);
            }
            if let Some(connection) = &sa.connection {
                cx.changed(connection);
            }
            return Ok(());
        }
        // Whoever makes one more says so; who does not, made an ordinary one, and may make of the next one what it likes.
        let joins = self.offer.wish.joins();
        if let Some(with) = joins.filter(|_| !payloads.has_notify(NotifyType::SA_RESOURCE_INFO)) {
            per_resource::unwanted(cx, sa, Resource { number: None, ..with });
        }
        let agreed = Agreed { part: per_resource::place(sa, &agreed), ..agreed };
        let nonces = Nonces { ni: &self.ni, nr };
        let origin = Origin { shared, nonces, initiator: true, replaces: None, activation: Activation::Now };
        child::install(cx, sa, agreed, origin);
        Ok(())
    }
}

/// Answers the peer's request for another Child SA.
///
/// # Errors
/// NO_ADDITIONAL_SAS, TS_MAX_QUEUE, NO_PROPOSAL_CHOSEN, TS_UNACCEPTABLE, INVALID_KE_PAYLOAD; INVALID_SYNTAX.
pub(crate) fn respond(cx: &mut Ctx, sa: &mut IkeSa, request: &Opened<'_>) -> Result<MessageBuilder, Failure> {
    let payloads = request.payloads();
    let ni = payloads.nonce()?.0;
    let ke = payloads.ke_opt()?;
    let Some(connection) = sa.connection.clone() else { return Err(notify(NotifyType::NO_ADDITIONAL_SAS)) };
    let choice = child_choice::choose(cx, sa, &connection, &connection.children, payloads, Place::CreateChildSa)?;
    if sa.children.len() >= MAX_CHILDREN {
        return Err(notify(NotifyType::NO_ADDITIONAL_SAS));
    }
    let (own_ke, shared) = child::answer_key_exchange(cx, &choice.agreed.suite, ke)?.unzip();
    let nr = cx.nonce();

    let mut response = MessageBuilder::new(request.header().reply());
    choice.push_sa(&mut response);
    response.push(&Payload::Nonce(Nonce(&nr)));
    if let Some(ke) = own_ke {
        ke.push(&mut response);
    }
    choice.push_ts(&mut response);
    let nonces = Nonces { ni, nr: &nr };
    // Where another one carries the same traffic, it goes on to do so until the peer shows that it has this one, too.
    let joins = matches!(choice.agreed.part, Some(Part::Of(_)));
    let activation = if joins { Activation::OnUse } else { Activation::Now };
    let origin = Origin { shared, nonces, initiator: false, replaces: None, activation };
    child::install(cx, sa, choice.agreed, origin);
    Ok(response)
}
