//! INFORMATIONAL (RFC 7296 §1.4): liveness, Delete, packets outside their selectors, and the last word after a failed
//! authentication.
//!
//! ```text
//! HDR, SK {} -->                      <-- HDR, SK {}                   liveness (§2.4)
//! HDR, SK {D(ESP, SPIs)} -->          <-- HDR, SK {D(ESP, SPIs)}       the other halves (§1.4.1)
//! HDR, SK {D(IKE)} -->                <-- HDR, SK {}
//! HDR, SK {N(INVALID_SELECTORS)} -->  <-- HDR, SK {}                   (§3.10.1, RFC 4301 §5.2)
//! HDR, SK {N(AUTHENTICATION_FAILED)} --> <-- HDR, SK {}                (§2.21.2)
//! ```

use std::time::Instant;

use cygnet_esp::Spi;

use crate::endpoint::context::Ctx;
use crate::event::{DownReason, Event, FailureCause};
use crate::exchange::InFlight;
use crate::exchange::failure::{Failure, Report};
use crate::exchange::{per_resource, proof};
use crate::limits::{INVALID_SELECTORS_PAUSE, MAX_CHILDREN, OFFENDING_PACKET};
use crate::message::payload::{Delete, Notify, WireSpi};
use crate::message::{ExchangeType, MessageBuilder, NotifyType, Opened, Payload, ProtocolId};
use crate::output::ChildId;
use crate::sa::IkeSa;
use crate::status::ChildState;

/// Are you there?
#[derive(Debug)]
pub(crate) struct Liveness;

/// Asks whether the peer lives.
pub(crate) fn start_liveness(cx: &mut Ctx, sa: &mut IkeSa) {
    let request = sa.request(ExchangeType::INFORMATIONAL);
    sa.send_request(cx, &request, InFlight::Liveness(Liveness));
}

impl Liveness {
    /// Any authentic response will do; the SA took note of it already.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The peer sends what a Child SA does not carry.
#[derive(Debug)]
pub(crate) struct InvalidSelectors;

/// Tells the peer that a packet was dropped because it is outside the selectors of the Child SA that it came through
/// (RFC 4301 §5.2), unless it was told so a while ago. The SPI is that of the packet: the peer sends on it.
pub(crate) fn start_invalid_selectors(cx: &mut Ctx, sa: &mut IkeSa, child: ChildId, packet: &[u8]) {
    let Some(spi) = sa.children.find(child).map(|child| child.spi_in) else { return };
    if !passed(&mut sa.mismatch.told, cx) {
        return;
    }
    let mut request = sa.request(ExchangeType::INFORMATIONAL);
    let about = Notify::about_esp(NotifyType::INVALID_SELECTORS, spi);
    request.push(&Payload::Notify(Notify { data: packet, ..about }));
    sa.send_request(cx, &request, InFlight::InvalidSelectors(InvalidSelectors));
}

impl InvalidSelectors {
    /// The peer has heard it; what it does about it is its own affair.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Whether the pause since the last one is over; then this is the last one.
fn passed(last: &mut Option<Instant>, cx: &Ctx) -> bool {
    let now = cx.now.instant;
    let over = last.is_none_or(|last| now.saturating_duration_since(last) >= INVALID_SELECTORS_PAUSE);
    if over {
        *last = Some(now);
    }
    over
}

/// The peer says that we send what a Child SA does not carry: somebody should look into it.
fn report_mismatch(cx: &mut Ctx, sa: &mut IkeSa, notify: &Notify<'_>) {
    let WireSpi::Esp(spi) = notify.spi else { return };
    let Some(child) = sa.children.by_peer_spi(spi).map(|child| child.id) else { return };
    if notify.protocol == ProtocolId::ESP && passed(&mut sa.mismatch.heard, cx) {
        let packet = notify.data.get(..OFFENDING_PACKET).unwrap_or(notify.data).to_vec();
        cx.event(Event::InvalidSelectors { ike: sa.id, child, packet });
    }
}

/// A Child SA is over.
#[derive(Debug)]
pub(crate) struct DeleteChild {
    child: Option<ChildId>,
    reason: DownReason,
}

/// Deletes a Child SA. If a successor took over meanwhile, and it is not for its sake, the successor is meant.
pub(crate) fn start_delete_child(cx: &mut Ctx, sa: &mut IkeSa, child: ChildId, reason: DownReason) {
    let mut id = child;
    while reason != DownReason::Rekeyed
        && let Some(successor) = sa.children.find(id).and_then(|child| child.successor)
    {
        id = successor;
    }
    let Some(child) = sa.children.find_mut(id).filter(|child| child.state != ChildState::Deleting) else { return };
    child.state = ChildState::Deleting;
    let spi = child.spi_in;
    send_delete(cx, sa, spi, DeleteChild { child: Some(id), reason });
}

/// Deletes a Child SA that the peer has and we do not: its answer was not acceptable.
pub(crate) fn start_discard_child(cx: &mut Ctx, sa: &mut IkeSa, spi_in: Spi) {
    send_delete(cx, sa, spi_in, DeleteChild { child: None, reason: DownReason::Failed });
}

fn send_delete(cx: &mut Ctx, sa: &mut IkeSa, spi_in: Spi, exchange: DeleteChild) {
    let mut request = sa.request(ExchangeType::INFORMATIONAL);
    request.push(&Payload::Delete(Delete::esp([spi_in])));
    sa.send_request(cx, &request, InFlight::DeleteChild(exchange));
}

impl DeleteChild {
    pub(crate) fn child(&self) -> Option<ChildId> {
        self.child
    }

    /// The peer's half is gone, whether its response says so or not.
    pub(crate) fn finish(self, cx: &mut Ctx, sa: &mut IkeSa) -> Result<(), Failure> {
        if let Some(child) = self.child {
            sa.remove_child(cx, child, self.reason);
        }
        Ok(())
    }
}

/// The IKE SA is over.
#[derive(Debug)]
pub(crate) struct DeleteIke {
    reason: DownReason,
}

/// Deletes the IKE SA.
pub(crate) fn start_delete_ike(cx: &mut Ctx, sa: &mut IkeSa, reason: DownReason) {
    let mut request = sa.request(ExchangeType::INFORMATIONAL);
    request.push(&Payload::Delete(Delete::ike()));
    sa.send_request(cx, &request, InFlight::DeleteIke(DeleteIke { reason }));
}

impl DeleteIke {
    pub(crate) fn reason(&self) -> DownReason {
        self.reason
    }

    pub(crate) fn finish(self, cx: &mut Ctx, sa: &mut IkeSa) -> Result<(), Failure> {
        sa.bury(cx, self.reason);
        Ok(())
    }
}

/// We do not believe the responder that it is who we dialled.
#[derive(Debug)]
pub(crate) struct Farewell;

/// Tells the responder, which takes the SA for established, that it is not (RFC 7296 §2.21.2).
pub(crate) fn start_farewell(cx: &mut Ctx, sa: &mut IkeSa) {
    let mut request = sa.request(ExchangeType::INFORMATIONAL);
    request.notify(NotifyType::AUTHENTICATION_FAILED, &[]);
    sa.send_request(cx, &request, InFlight::Farewell(Farewell));
}

impl Farewell {
    pub(crate) fn finish(self, cx: &mut Ctx, sa: &mut IkeSa) -> Result<(), Failure> {
        sa.bury(cx, DownReason::Failed);
        Ok(())
    }
}

/// Answers whatever the peer has to say; an empty request gets an empty response.
///
/// # Errors
/// None of its own; the common type of responders.
pub(crate) fn respond(cx: &mut Ctx, sa: &mut IkeSa, request: &Opened<'_>) -> Result<MessageBuilder, Failure> {
    let payloads = request.payloads();
    let mut response = MessageBuilder::new(request.header().reply());
    if let Some(notify) = payloads.notify(NotifyType::INVALID_SELECTORS) {
        report_mismatch(cx, sa, notify);
    }
    if payloads.has_notify(NotifyType::AUTHENTICATION_FAILED) {
        denied(cx, sa);
        return Ok(response);
    }
    if payloads.deletes().any(Delete::is_ike) {
        let reason = match (sa.superseded, sa.twin) {
            (true, _) => DownReason::Rekeyed,
            (false, Some(_)) => DownReason::Redundant,
            (false, None) => DownReason::PeerDeleted,
        };
        if reason == DownReason::Redundant {
            sa.retire_children(cx);
        }
        sa.end(cx, reason);
        return Ok(response);
    }
    let spis: Vec<Spi> = payloads.deletes().flat_map(Delete::esp_spis).collect();
    let halves: Vec<Spi> = spis.into_iter().filter_map(|spi| delete_child(cx, sa, spi)).collect();
    if !halves.is_empty() {
        response.push(&Payload::Delete(Delete::esp(halves)));
    }
    Ok(response)
}

/// The peer deletes its half of a Child SA; ours goes with it. Gives the SPI to name in the response: none if our own
/// Delete is under way (RFC 7296 §1.4.1).
fn delete_child(cx: &mut Ctx, sa: &mut IkeSa, spi: Spi) -> Option<Spi> {
    let Some(child) = sa.children.by_peer_spi(spi) else {
        // Perhaps one that the peer just made, in a response that its Delete overtook.
        if sa.in_flight.as_ref().is_some_and(InFlight::makes_child) && sa.deleted_early.len() < MAX_CHILDREN {
            sa.deleted_early.push(spi);
        }
        return None;
    };
    let (id, spi_in, successor) = (child.id, child.spi_in, child.successor);
    let ours_is_under_way = child.state == ChildState::Deleting;
    if let Some(successor) = successor {
        // It deletes the old pair, so it has the new one.
        sa.child_used(cx, successor);
    }
    if successor.is_none() {
        per_resource::deleted(cx, sa, id);
    }
    let reason = if successor.is_some() { DownReason::Rekeyed } else { DownReason::PeerDeleted };
    sa.remove_child(cx, id, reason);
    (!ours_is_under_way).then_some(spi_in)
}

/// The peer did not believe us, after all.
fn denied(cx: &mut Ctx, sa: &mut IkeSa) {
    if let Some(connection) = sa.connection.clone() {
        Report::new(sa, FailureCause::Authentication)
            .offered(format!("by us: {}", connection.local.id))
            .wanted(format!("the peer, {}, refused it", proof::wanted(&connection)))
            .remedy(
                "check that both sides have the same secret, or certificates of authorities they trust, and that \
                     `local.id` here is what the peer expects",
            )
            .send(cx);
    }
    sa.end(cx, DownReason::Failed);
}
