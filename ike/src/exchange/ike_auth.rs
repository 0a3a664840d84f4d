//! IKE_AUTH (RFC 7296 §1.2, §2.15, §2.16): both sides prove who they are; the first Child SA comes along.
//!
//! ```text
//! HDR, SK {IDi, [CERT,] [N(INITIAL_CONTACT),] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr} -->
//!        <-- HDR, SK {IDr, [CERT,] AUTH, SAr2, TSi, TSr}
//!        <-- HDR, SK {IDr, [CERT,] AUTH, N(TS_UNACCEPTABLE | NO_PROPOSAL_CHOSEN | ...)}
//!        <-- HDR, SK {N(AUTHENTICATION_FAILED)}
//! ```

use std::sync::Arc;

use crate::config::Connection;
use crate::crypto::key_schedule::Nonces;
use crate::crypto::prf::Prf;
use crate::endpoint::context::{Ctx, Effect};
use crate::event::{DownReason, Event, FailureCause};
use crate::exchange::child::{self, Origin};
use crate::exchange::child_choice::{self, Place};
use crate::exchange::child_offer::ChildOffer;
use crate::exchange::failure::{Failure, Report, list};
use crate::exchange::proof::{self, Disbelief};
use crate::exchange::wish::Wish;
use crate::exchange::{InFlight, Task, informational};
use crate::identity::Identity;
use crate::message::payload::{Auth, Id};
use crate::message::{AuthMethod, Chain, ExchangeType, MessageBuilder, NotifyType, Opened, Payload};
use crate::output::Activation;
use crate::pad::Pad;
use crate::proposal::{self, IkeSuite};
use crate::sa::IkeSa;
use crate::sa::keys::Transcript;
use crate::sa::phase::{Established, Phase, Responding};

/// Our request.
pub(crate) struct IkeAuth {
    transcript: Transcript,
    offer: Option<ChildOffer>,
}

impl std::fmt::Debug for IkeAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IkeAuth").field("offer", &self.offer).finish_non_exhaustive()
    }
}

/// Sends the request; the first queued child comes along.
pub(crate) fn start(cx: &mut Ctx, sa: &mut IkeSa, transcript: Transcript) {
    let (Some(connection), Some(prf)) = (sa.connection.clone(), prf(sa)) else { return };
    let id = &connection.local.id;
    let octets = transcript.initiator_octets(&id.payload_body());
    let made = match proof::prove(&connection, prf, sa.peer.hashes.as_deref(), &octets) {
        Ok(made) => made,
        Err(error) => {
            Report::new(sa, FailureCause::Authentication)
                .offered(format!("by us: {id}"))
                .wanted(format!("a proof that the peer understands: {error}"))
                .remedy("use a key of another type, or let the peer accept more signature hash algorithms")
                .send(cx);
            return sa.bury(cx, DownReason::Failed);
        }
    };
    let (mut offer, mut asked) = (None, false);
    while offer.is_none()
        && let Some(first) = sa.queue.iter().position(|task| matches!(task, Task::CreateChild(_)))
        && let Some(Task::CreateChild(wish)) = sa.queue.remove(first)
    {
        asked = true;
        offer = ChildOffer::in_ike_auth(cx, sa, wish);
    }
    if asked && offer.is_none() {
        // Nothing that was wanted can be had on this path.
        return sa.bury(cx, DownReason::Failed);
    }

    let mut request = sa.request(ExchangeType::IKE_AUTH);
    request.push(&Payload::IdI(Id::new(id.id_type(), &id.data())));
    proof::push_certs(&connection, &mut request);
    // Nothing else exists between us and that address: whatever the peer remembers is stale (RFC 7296 §2.4).
    if cx.sas_with(sa.path.remote.ip()) <= 1 {
        request.notify(NotifyType::INITIAL_CONTACT, &[]);
    }
    proof::push_cert_req([&*connection], &mut request);
    if let Some(peer) = connection.peer.id.exact() {
        request.push(&Payload::IdR(Id::new(peer.id_type(), &peer.data())));
    }
    request.push(&Payload::Auth(Auth { method: made.method, data: &made.data }));
    if let Some(offer) = &offer {
        offer.push_sa(&mut request);
        offer.push_ts(&mut request);
    }
    sa.send_request(cx, &request, InFlight::IkeAuth(Box::new(IkeAuth { transcript, offer })));
}

impl IkeAuth {
    pub(crate) fn wish(&self) -> Option<&Wish> {
        self.offer.as_ref().map(|offer| &offer.wish)
    }

    pub(crate) fn finish(self, cx: &mut Ctx, sa: &mut IkeSa, reply: &Opened<'_>) -> Result<(), Failure> {
        let payloads = reply.payloads();
        let Some(connection) = sa.connection.clone() else { return Ok(()) };
        if payloads.auth_opt()?.is_none()
            && let Some(error) = payloads.error()
        {
            refused(cx, sa, &connection, error.kind);
            return Ok(());
        }
        let remote_id = match self.believe(cx, sa, &connection, payloads)? {
            Ok(id) => id,
            Err(disbelief) => {
                // The responder thinks that the SA is established: it must hear otherwise (RFC 7296 §2.21.2).
                disbelief.report(cx, sa);
                informational::start_farewell(cx, sa);
                cx.changed(&connection);
                return Ok(());
            }
        };
        let Phase::Initiating(secured) = std::mem::replace(&mut sa.phase, Phase::Initiating(None)) else {
            return Ok(());
        };
        let Some(secured) = secured else { return Ok(()) };
        let local_id = connection.local.id.clone();
        sa.establish(cx, Established { secured: *secured, local_id, remote_id, since: cx.now.instant });
        cx.event(Event::IkeUp(sa.id));
        authenticated(cx, sa, &self.transcript);
        if sa.is_deleting() {
            return Ok(());
        }

        let Some(offer) = self.offer else { return Ok(()) };
        if payloads.sa_opt()?.is_none() {
            let kind = payloads.error().map_or(NotifyType::NO_PROPOSAL_CHOSEN, |error| error.kind);
            offer.refused(cx, sa, kind);
            return Ok(());
        }
        let agreed = match offer.accept(sa, payloads) {
            Ok(agreed) => agreed,
            Err(why) => {
                offer.reject(cx, sa, why);
                return Ok(());
            }
        };
        let Transcript { ni, nr, .. } = &self.transcript;
        let origin = Origin {
            shared: None,
            nonces: Nonces { ni, nr },
            initiator: true,
            replaces: None,
            activation: Activation::Now,
        };
        child::install(cx, sa, agreed, origin);
        Ok(())
    }

    /// Whether the responder is who we dialled.
    fn believe(
        &self,
        cx: &Ctx,
        sa: &IkeSa,
        connection: &Connection,
        payloads: &Chain<'_>,
    ) -> Result<Result<Identity, Disbelief>, Failure> {
        let id_r = payloads.id_r()?;
        let Some(prf) = prf(sa) else { return Err(Failure::Drop(crate::DropReason::Unexpected)) };
        let id = match Identity::from_wire(id_r.kind, id_r.data) {
            Ok(id) if connection.peer.id.matches(&id) => id,
            Ok(other) => return Ok(Err(Disbelief::identity(other.to_string(), proof::wanted(connection)))),
            Err(error) => return Ok(Err(Disbelief::identity(error.to_string(), proof::wanted(connection)))),
        };
        let octets = self.transcript.responder_octets(&id_r.body());
        Ok(proof::check(cx, connection, prf, &id, payloads, &octets).map(|()| id))
    }
}

/// The responder did not accept us.
fn refused(cx: &mut Ctx, sa: &mut IkeSa, connection: &Connection, kind: NotifyType) {
    let (cause, remedy) = match kind {
        NotifyType::AUTHENTICATION_FAILED => (
            FailureCause::Authentication,
            "check that both sides have the same secret, or certificates of authorities they trust, and that our \
             `local.id` is the identity the peer expects; its log knows more"
                .to_owned(),
        ),
        NotifyType::INVALID_SYNTAX => (FailureCause::Protocol, "update the IKE of both sides".to_owned()),
        other => (FailureCause::Notified(other.0), format!("the peer answered {other}: check its log")),
    };
    let asked = connection.peer.id.exact().map(|id| format!(", asking for {id}")).unwrap_or_default();
    Report::new(sa, cause)
        .offered(format!("by us: {}{asked}", connection.local.id))
        .wanted(format!("the peer answered {kind}"))
        .remedy(remedy)
        .send(cx);
    sa.bury(cx, DownReason::Failed);
}

/// What a request must hold. AUTH is looked for later: without it the peer wants EAP, which is another failure.
struct Request<'c, 'a> {
    id_i: &'c Id<'a>,
    id_r: Option<&'c Id<'a>>,
    /// All of SA, TSi and TSr are there.
    wants_child: bool,
}

impl<'c, 'a> Request<'c, 'a> {
    fn parse(payloads: &'c Chain<'a>) -> Result<Self, Failure> {
        let (id_i, id_r) = (payloads.id_i()?, payloads.id_r_opt()?);
        let wants_child = payloads.sa_opt()?.is_some();
        if wants_child {
            payloads.ts_i()?;
            payloads.ts_r()?;
        }
        payloads.auth_opt()?;
        Ok(Self { id_i, id_r, wants_child })
    }
}

/// Answers the initiator: who it is, whether we believe it, who we are, and the first Child SA.
///
/// # Errors
/// AUTHENTICATION_FAILED, after an event that explains it; INVALID_SYNTAX.
pub(crate) fn respond(cx: &mut Ctx, sa: &mut IkeSa, opened: &Opened<'_>) -> Result<MessageBuilder, Failure> {
    let payloads = opened.payloads();
    let request = Request::parse(payloads)?;
    let Some(prf) = prf(sa) else { return Err(Failure::Drop(crate::DropReason::Unexpected)) };
    let denied = Failure::Fatal(NotifyType::AUTHENTICATION_FAILED, Vec::new());
    let (connection, remote_id) = match identify(cx, sa, &request, payloads) {
        Ok(found) => found,
        Err(disbelief) => {
            disbelief.report(cx, sa);
            return Err(denied);
        }
    };
    sa.connection = Some(connection.clone());
    let Phase::Responding(responding) = &sa.phase else { return Err(denied) };
    let transcript = &responding.transcript;
    let octets = transcript.initiator_octets(&request.id_i.body());
    if let Err(disbelief) = proof::check(cx, &connection, prf, &remote_id, payloads, &octets) {
        disbelief.report(cx, sa);
        return Err(denied);
    }
    let own = &connection.local.id;
    let octets = transcript.responder_octets(&own.payload_body());
    let made = match proof::prove(&connection, prf, sa.peer.hashes.as_deref(), &octets) {
        Ok(made) => made,
        Err(error) => {
            Report::new(sa, FailureCause::Authentication)
                .offered(format!("by us: {own}"))
                .wanted(format!("a proof that the peer understands: {error}"))
                .remedy("use a key of another type, or let the peer accept more signature hash algorithms")
                .send(cx);
            return Err(denied);
        }
    };
    let mut response = MessageBuilder::new(opened.header().reply());
    response.push(&Payload::IdR(Id::new(own.id_type(), &own.data())));
    proof::push_certs(&connection, &mut response);
    response.push(&Payload::Auth(Auth { method: made.method, data: &made.data }));

    let Phase::Responding(responding) = std::mem::replace(&mut sa.phase, Phase::Initiating(None)) else {
        return Err(denied);
    };
    let Responding { secured, transcript } = *responding;
    let local_id = own.clone();
    let identities = (local_id.clone(), remote_id.clone());
    sa.establish(cx, Established { secured, local_id, remote_id, since: cx.now.instant });
    cx.event(Event::IkeUp(sa.id));
    if payloads.has_notify(NotifyType::INITIAL_CONTACT) {
        let (local, remote) = identities;
        cx.effect(Effect::InitialContact { by: sa.id, local, remote });
    }
    authenticated(cx, sa, &transcript);
    if request.wants_child {
        respond_child(cx, sa, &connection, payloads, &transcript, &mut response);
    }
    Ok(response)
}

/// Notes when and from which nonces the SA came to be: there may be another one, by the other side.
fn authenticated(cx: &mut Ctx, sa: &mut IkeSa, transcript: &Transcript) {
    sa.birth.done = Some(cx.now.instant);
    sa.birth.lowest_nonce = transcript.ni.clone().min(transcript.nr.clone());
    cx.effect(Effect::Authenticated(sa.id));
}

/// The first Child SA, or the reason why not: the IKE SA stands either way (RFC 7296 §1.2).
fn respond_child(
    cx: &mut Ctx,
    sa: &mut IkeSa,
    connection: &Connection,
    payloads: &Chain<'_>,
    transcript: &Transcript,
    response: &mut MessageBuilder,
) {
    match child_choice::choose(cx, sa, connection, &connection.children, payloads, Place::IkeAuth) {
        Ok(choice) => {
            choice.push_sa(response);
            choice.push_ts(response);
            let nonces = Nonces { ni: &transcript.ni, nr: &transcript.nr };
            // Where another SA with this peer may serve, this one waits until the peer surely has it.
            let alone = cx.sas_with(sa.path.remote.ip()) <= 1;
            let activation = if alone { Activation::Now } else { Activation::OnUse };
            let origin = Origin { shared: None, nonces, initiator: false, replaces: None, activation };
            child::install(cx, sa, choice.agreed, origin);
        }
        Err(Failure::Notify(kind, data) | Failure::Fatal(kind, data)) => {
            response.notify(kind, &data);
        }
        Err(Failure::Drop(_)) => {}
    }
}

/// Finds the entry of the Peer Authorization Database that the peer's identity selects (RFC 4301 §4.4.3).
fn identify(
    cx: &Ctx,
    sa: &IkeSa,
    request: &Request<'_, '_>,
    payloads: &Chain<'_>,
) -> Result<(Arc<Connection>, Identity), Disbelief> {
    let pad = Pad::new(&cx.config);
    let (local, remote) = (sa.path.local.ip(), sa.path.remote.ip());
    let accepted = || list(pad.by_addresses(local, remote).iter().map(|c| format!("{} for {}", c.peer.id, c.local.id)));
    let read = |id: &Id<'_>| {
        Identity::from_wire(id.kind, id.data).map_err(|error| Disbelief::identity(error.to_string(), accepted()))
    };
    let id = read(request.id_i)?;
    let asked = request.id_r.map(read).transpose()?;
    let found = pad.by_identity(local, remote, &id, asked.as_ref());
    // The algorithms were agreed upon for an address; they have to be good enough for the identity, too.
    let suite = sa.phase.secured().and_then(|secured| IkeSuite::of(&secured.algorithms));
    let allows = |c: &&Arc<Connection>| suite.is_some_and(|suite| c.proposals.iter().any(|p| p.allows(&suite)));
    let (found, weaker): (Vec<_>, Vec<_>) = found.into_iter().partition(allows);
    if let (true, Some(first), Some(suite)) = (found.is_empty(), weaker.first(), suite) {
        return Err(Disbelief::algorithms(format!("{id} with {suite}"), proposal::list(&first.proposals)));
    }
    // Several entries may fit; one that expects the kind of proof at hand is the better guess.
    let psk = payloads.auth().is_ok_and(|auth| auth.method == AuthMethod::SHARED_KEY);
    let expects_psk = |c: &Connection| matches!(c.peer.auth, crate::config::PeerAuth::Psk(_));
    let best = found.iter().find(|c| expects_psk(c) == psk).or(found.first());
    match best {
        Some(connection) => Ok((Arc::clone(connection), id)),
        None => {
            let asked = asked.map(|asked| format!(" asking for {asked}")).unwrap_or_default();
            Err(Disbelief::identity(format!("{id}{asked}"), accepted()))
        }
    }
}

fn prf(sa: &IkeSa) -> Option<&'static Prf> {
    Some(sa.phase.secured()?.sk_d.prf())
}
