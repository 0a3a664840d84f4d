//! The exchanges, one file each, both halves together, so that each reads like its section of RFC 7296.
//!
//! | file | exchange | section |
//! |---|---|---|
//! | [`ike_sa_init`] | IKE_SA_INIT | RFC 7296 §1.2, §2.6, §2.23 |
//! | [`ike_auth`] | IKE_AUTH, with the first Child SA | RFC 7296 §1.2, §2.15 |
//! | [`create_child`] | CREATE_CHILD_SA for another Child SA | RFC 7296 §1.3.1 |
//! | [`rekey_child`] | CREATE_CHILD_SA that rekeys a Child SA | RFC 7296 §1.3.3, §2.8 |
//! | [`rekey_ike`] | CREATE_CHILD_SA that rekeys the IKE SA | RFC 7296 §1.3.2, §2.18 |
//! | [`informational`] | INFORMATIONAL: liveness, Delete, INVALID_SELECTORS | RFC 7296 §1.4 |
//!
//! The initiator half is a value, kept in [`InFlight`] and consumed by the response; the responder half is a function.
//! Shared between them: [`announce`] (notifications of IKE_SA_INIT), [`offer`] (SA payloads), [`proof`] (AUTH payloads),
//! [`failure`] (outcomes, and what to tell an operator); and what all ways to a Child SA have in common: [`wish`] (which
//! one is wanted), [`child_offer`] and [`child_choice`] (the two halves of its negotiation), [`transport`] (addresses in
//! transport mode), [`per_resource`] (several with the same selectors, RFC 9611), [`child`] (its installation).

pub(crate) mod announce;
pub(crate) mod child;
pub(crate) mod child_choice;
pub(crate) mod child_offer;
pub(crate) mod create_child;
pub(crate) mod failure;
pub(crate) mod ike_auth;
pub(crate) mod ike_sa_init;
pub(crate) mod informational;
pub(crate) mod offer;
pub(crate) mod per_resource;
pub(crate) mod proof;
pub(crate) mod rekey_child;
pub(crate) mod rekey_ike;
pub(crate) mod transport;
pub(crate) mod wish;

use cygnet_esp::Spi;

pub(crate) use self::failure::Failure;
use self::wish::Wish;
use crate::endpoint::context::Ctx;
use crate::event::{DownReason, DropReason};
use crate::message::{ExchangeType, MessageBuilder, NotifyType, Opened};
use crate::output::ChildId;
use crate::sa::IkeSa;
use crate::sa::phase::Phase;

/// An exchange that waits for its turn (RFC 7296 §2.3: one request at a time).
#[derive(Debug, Clone)]
pub(crate) enum Task {
    CreateChild(Wish),
    RekeyChild(ChildId),
    RekeyIke,
    DeleteChild(ChildId, DownReason),
    /// A Child SA that only the peer has, by our SPI.
    DiscardChild(Spi),
    DeleteIke(DownReason),
    /// The peer sends what a child's selectors do not hold; the start of a packet.
    InvalidSelectors(ChildId, Vec<u8>),
    Liveness,
}

impl PartialEq for Task {
    /// Whether both ask for the same, whatever the reason.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::CreateChild(a), Self::CreateChild(b)) => a.is_met_by(b),
            (Self::RekeyChild(a), Self::RekeyChild(b)) | (Self::DeleteChild(a, _), Self::DeleteChild(b, _)) => a == b,
            (Self::DiscardChild(a), Self::DiscardChild(b)) => a == b,
            (Self::RekeyIke, Self::RekeyIke)
            | (Self::DeleteIke(_), Self::DeleteIke(_))
            // One of them says enough.
            | (Self::InvalidSelectors(..), Self::InvalidSelectors(..))
            | (Self::Liveness, Self::Liveness) => true,
            _ => false,
        }
    }
}

impl Task {
    /// Whether nothing depends on it: one more Child SA beside others, which serve (RFC 9611 §5).
    pub(crate) fn is_optional(&self) -> bool {
        matches!(self, Self::CreateChild(wish) if wish.joins().is_some())
    }

    /// As management protocols call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::CreateChild(_) => "CHILD_CREATE",
            Self::RekeyChild(_) => "CHILD_REKEY",
            Self::RekeyIke => "IKE_REKEY",
            Self::DeleteChild(..) | Self::DiscardChild(_) => "CHILD_DELETE",
            Self::DeleteIke(_) => "IKE_DELETE",
            Self::InvalidSelectors(..) => "INFORMATIONAL",
            Self::Liveness => "IKE_DPD",
        }
    }
}

/// What we asked and wait to be answered.
#[derive(Debug)]
pub(crate) enum InFlight {
    IkeSaInit(ike_sa_init::IkeSaInit),
    IkeAuth(Box<ike_auth::IkeAuth>),
    CreateChild(create_child::CreateChild),
    RekeyChild(rekey_child::RekeyChild),
    RekeyIke(rekey_ike::RekeyIke),
    DeleteChild(informational::DeleteChild),
    DeleteIke(informational::DeleteIke),
    Liveness(informational::Liveness),
    InvalidSelectors(informational::InvalidSelectors),
    /// AUTHENTICATION_FAILED after the peer's IKE_AUTH response (RFC 7296 §2.21.2).
    Farewell(informational::Farewell),
}

impl InFlight {
    /// The exchange type of the awaited response.
    pub(crate) fn exchange(&self) -> ExchangeType {
        match self {
            Self::IkeSaInit(_) => ExchangeType::IKE_SA_INIT,
            Self::IkeAuth(_) => ExchangeType::IKE_AUTH,
            Self::CreateChild(_) | Self::RekeyChild(_) | Self::RekeyIke(_) => ExchangeType::CREATE_CHILD_SA,
            Self::DeleteChild(_)
            | Self::DeleteIke(_)
            | Self::Liveness(_)
            | Self::InvalidSelectors(_)
            | Self::Farewell(_) => ExchangeType::INFORMATIONAL,
        }
    }

    /// As management protocols call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::IkeSaInit(_) => "IKE_INIT",
            Self::IkeAuth(_) => "IKE_AUTH",
            Self::CreateChild(_) => "CHILD_CREATE",
            Self::RekeyChild(_) => "CHILD_REKEY",
            Self::RekeyIke(_) => "IKE_REKEY",
            Self::DeleteChild(_) => "CHILD_DELETE",
            Self::DeleteIke(_) => "IKE_DELETE",
            Self::Liveness(_) => "IKE_DPD",
            Self::InvalidSelectors(_) | Self::Farewell(_) => "INFORMATIONAL",
        }
    }

    /// The child that it negotiates anew.
    pub(crate) fn wish(&self) -> Option<&Wish> {
        match self {
            Self::IkeAuth(exchange) => exchange.wish(),
            Self::CreateChild(exchange) => Some(exchange.wish()),
            _ => None,
        }
    }

    /// Whether its response may bring a Child SA.
    pub(crate) fn makes_child(&self) -> bool {
        matches!(self, Self::CreateChild(_) | Self::RekeyChild(_))
    }

    /// Whether it already does what `task` asks for.
    pub(crate) fn is_for(&self, task: &Task) -> bool {
        match (self, task) {
            (_, Task::CreateChild(wish)) => self.wish().is_some_and(|coming| wish.is_met_by(coming)),
            (Self::RekeyChild(exchange), Task::RekeyChild(child)) => exchange.old() == *child,
            (Self::DeleteChild(exchange), Task::DeleteChild(child, _)) => exchange.child() == Some(*child),
            (Self::RekeyIke(_), Task::RekeyIke)
            | (Self::DeleteIke(_), Task::DeleteIke(_))
            | (Self::InvalidSelectors(_), Task::InvalidSelectors(..)) => true,
            // Any exchange shows whether the peer lives.
            (_, Task::Liveness) => true,
            _ => false,
        }
    }

    /// Whether the SA ends with its response.
    pub(crate) fn ends_sa(&self) -> bool {
        self.deletion().is_some()
    }

    /// Why the SA ends with its response, if it does.
    pub(crate) fn deletion(&self) -> Option<DownReason> {
        match self {
            Self::DeleteIke(exchange) => Some(exchange.reason()),
            Self::Farewell(_) => Some(DownReason::Failed),
            _ => None,
        }
    }

    /// The authentic response arrived.
    pub(crate) fn finish(self, cx: &mut Ctx, sa: &mut IkeSa, reply: &Opened<'_>) -> Result<(), Failure> {
        match self {
            // Its response is in the clear and never gets here.
            Self::IkeSaInit(_) => Err(Failure::Drop(DropReason::Unexpected)),
            Self::IkeAuth(exchange) => exchange.finish(cx, sa, reply),
            Self::CreateChild(exchange) => exchange.finish(cx, sa, reply),
            Self::RekeyChild(exchange) => exchange.finish(cx, sa, reply),
            Self::RekeyIke(exchange) => exchange.finish(cx, sa, reply),
            Self::DeleteChild(exchange) => exchange.finish(cx, sa),
            Self::DeleteIke(exchange) => exchange.finish(cx, sa),
            Self::Liveness(exchange) => exchange.finish(),
            Self::InvalidSelectors(exchange) => exchange.finish(),
            Self::Farewell(exchange) => exchange.finish(cx, sa),
        }
    }
}

/// Starts the exchange that does `task`, unless there is nothing left to do.
pub(crate) fn start(cx: &mut Ctx, sa: &mut IkeSa, task: Task) {
    match task {
        Task::CreateChild(wish) => create_child::start(cx, sa, wish),
        Task::RekeyChild(child) => rekey_child::start(cx, sa, child),
        Task::RekeyIke => rekey_ike::start(cx, sa),
        Task::DeleteChild(child, reason) => informational::start_delete_child(cx, sa, child, reason),
        Task::DiscardChild(spi) => informational::start_discard_child(cx, sa, spi),
        Task::DeleteIke(reason) => informational::start_delete_ike(cx, sa, reason),
        Task::InvalidSelectors(child, packet) => informational::start_invalid_selectors(cx, sa, child, &packet),
        Task::Liveness => informational::start_liveness(cx, sa),
    }
}

/// Answers an authentic request.
///
/// # Errors
/// See [`Failure`]: only the SA turns it into octets, silence or its own end.
pub(crate) fn respond(cx: &mut Ctx, sa: &mut IkeSa, request: &Opened<'_>) -> Result<MessageBuilder, Failure> {
    match (request.header().exchange, &sa.phase) {
        (ExchangeType::IKE_AUTH, Phase::Responding(_)) => ike_auth::respond(cx, sa, request),
        (ExchangeType::CREATE_CHILD_SA, Phase::Established(_)) => respond_create_child_sa(cx, sa, request),
        (ExchangeType::INFORMATIONAL, Phase::Established(_)) => informational::respond(cx, sa, request),
        // Over, yet the peer goes on: an answer lets it come to its own end.
        (ExchangeType::INFORMATIONAL, Phase::Closing { .. }) => Ok(MessageBuilder::new(request.header().reply())),
        (_, Phase::Established(_)) => Err(Failure::Fatal(NotifyType::INVALID_SYNTAX, Vec::new())),
        _ => Err(Failure::Drop(DropReason::Unexpected)),
    }
}

/// CREATE_CHILD_SA is three exchanges, told apart by what the request holds (RFC 7296 §1.3).
fn respond_create_child_sa(cx: &mut Ctx, sa: &mut IkeSa, request: &Opened<'_>) -> Result<MessageBuilder, Failure> {
    // On its way out, or moving to a successor: not now (RFC 7296 §2.25.2).
    if sa.is_deleting() || matches!(sa.in_flight, Some(InFlight::RekeyIke(_))) {
        return Err(Failure::Notify(NotifyType::TEMPORARY_FAILURE, Vec::new()));
    }
    let payloads = request.payloads();
    if payloads.has_notify(NotifyType::REKEY_SA) {
        rekey_child::respond(cx, sa, request)
    } else if payloads.ts_i_opt()?.is_none() && payloads.ts_r_opt()?.is_none() {
        rekey_ike::respond(cx, sa, request)
    } else {
        create_child::respond(cx, sa, request)
    }
}
