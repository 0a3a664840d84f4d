//! IKE_SA_INIT (RFC 7296 §1.2): algorithms, key exchange, nonces. Nothing here is authenticated yet; IKE_AUTH will
//! cover both messages.
//!
//! ```text
//! HDR, [N(COOKIE),] SAi1, KEi, Ni, N(NAT_DETECTION_*), N(...) -->
//!        <-- HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*), N(...), [CERTREQ]
//!        <-- HDR, N(COOKIE) | N(INVALID_KE_PAYLOAD) | N(NO_PROPOSAL_CHOSEN)
//! ```

use std::sync::Arc;

use crate::config::{Config, Connection};
use crate::crypto::kex::{Kex, Offer};
use crate::crypto::key_schedule::{KeyLengths, Nonces, SkeySeed};
use crate::endpoint::context::Ctx;
use crate::event::{self, DownReason, DropReason, FailureCause};
use crate::exchange::announce::{fakes_nat, float, learn_nat, notify_support, peer_features};
use crate::exchange::failure::Report;
use crate::exchange::{InFlight, ike_auth, offer, proof};
use crate::limits::{HALF_OPEN_LIFETIME, MAX_COOKIE, MAX_INIT_RETRIES};
use crate::message::payload::{Ke, Nonce, Sa, WireSpi};
use crate::message::{Chain, ExchangeType, IkeSpi, KeId, Message, MessageBuilder, NotifyType, Payload};
use crate::output::Path;
use crate::pad::Pad;
use crate::proposal::{self, IkeSuite};
use crate::sa::keys::{Transcript, secure};
use crate::sa::phase::{Phase, Responding};
use crate::sa::timers::Timer;
use crate::sa::window::Window;
use crate::sa::{IkeSa, Origin};
use crate::status::IkeAlgorithms;

/// Our request.
#[derive(Debug)]
pub(crate) struct IkeSaInit {
    kex: Offer,
    ni: Vec<u8>,
    cookie: Option<Vec<u8>>,
    /// Groups tried so far.
    tried: Vec<u16>,
    retries: u32,
    /// As sent last: what AUTH covers (RFC 7296 §2.15).
    sent: Vec<u8>,
}

/// Sends the first request. `None` if no key exchange can be offered, which a legal configuration rules out.
pub(crate) fn start(cx: &mut Ctx, sa: &mut IkeSa) -> Option<()> {
    let connection = sa.connection.clone()?;
    let group = proposal::first_group(&connection.proposals)?;
    let kex = group.offer(&mut *cx.rng).ok()?;
    let (ni, tried) = (cx.nonce(), vec![group.id]);
    IkeSaInit { kex, ni, cookie: None, tried, retries: 0, sent: Vec::new() }.send(cx, sa, &connection);
    Some(())
}

impl IkeSaInit {
    fn send(mut self, cx: &mut Ctx, sa: &mut IkeSa, connection: &Connection) {
        let mut request = sa.request(ExchangeType::IKE_SA_INIT);
        if let Some(cookie) = &self.cookie {
            request.notify(NotifyType::COOKIE, cookie);
        }
        request.push(&Payload::Sa(offer::offer(&connection.proposals, WireSpi::None)));
        request.push(&Payload::Ke(Ke { method: KeId(self.kex.group().id), data: self.kex.public() }));
        request.push(&Payload::Nonce(Nonce(&self.ni)));
        // An address that the route has yet to choose cannot be told: the peer will see a NAT, and so must we.
        sa.nat.faked = fakes_nat(&cx.config, connection) || sa.path.local.ip().is_unspecified();
        notify_support(&mut request, sa.path, sa.nat.faked, (sa.spi_i, IkeSpi::ZERO));
        self.sent = request.encode();
        sa.send_clear(cx, &request, InFlight::IkeSaInit(self));
    }

    /// A response in the clear. What makes no sense is dropped: it may be forged, and the real one still on its way
    /// (RFC 7296 §2.21.1).
    pub(crate) fn finish(self, cx: &mut Ctx, sa: &mut IkeSa, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        let message = match Message::decode(datagram) {
            Ok(message) => message,
            Err(_) => return self.keep_waiting(sa, DropReason::Malformed),
        };
        let Some(connection) = sa.connection.clone() else { return Err(DropReason::Unexpected) };
        let payloads = &message.payloads;
        if let Some(cookie) = payloads.notify(NotifyType::COOKIE) {
            return self.retry_with_cookie(cx, sa, &connection, cookie.data);
        }
        if let Some(wanted) = payloads.notify(NotifyType::INVALID_KE_PAYLOAD) {
            return self.retry_with_group(cx, sa, &connection, wanted.accepted_ke());
        }
        if let Some(error) = payloads.error() {
            refused(cx, sa, &connection, error.kind);
            return Ok(());
        }
        let Some(reply) = Reply::parse(payloads, &connection, self.kex.group()) else {
            return self.keep_waiting(sa, DropReason::Malformed);
        };
        if message.header.responder_spi.is_zero() {
            return self.keep_waiting(sa, DropReason::Malformed);
        }
        self.accept(cx, sa, &connection, path, (&message, datagram), reply)
    }

    fn accept(
        self,
        cx: &mut Ctx,
        sa: &mut IkeSa,
        connection: &Connection,
        path: Path,
        (message, datagram): (&Message<'_>, &[u8]),
        reply: Reply<'_>,
    ) -> Result<(), DropReason> {
        let spi_r = message.header.responder_spi;
        let Ok(shared) = self.kex.complete(reply.ke) else {
            // The private value is spent, so is this attempt.
            refused(cx, sa, connection, NotifyType::INVALID_SYNTAX);
            return Ok(());
        };
        sa.spi_r = spi_r;
        sa.window.answered();
        sa.peer = peer_features(&message.payloads);
        learn_nat(sa, path, &message.payloads);
        float(&cx.config, sa);

        let suite = reply.suite;
        let nonces = Nonces { ni: &self.ni, nr: reply.nr };
        let seed = SkeySeed::initial(suite.prf, shared, nonces);
        let keys = seed.expand(KeyLengths::from(suite.encr), nonces, sa.spi_i, spi_r);
        let (secured, keys) = secure(cx, keys, algorithms(&suite), true, (sa.spi_i, spi_r));
        sa.phase = Phase::Initiating(Some(Box::new(secured)));
        let transcript = Transcript {
            request: self.sent,
            response: datagram.to_vec(),
            ni: self.ni.clone(),
            nr: reply.nr.to_vec(),
            keys,
        };
        ike_auth::start(cx, sa, transcript);
        Ok(())
    }

    fn keep_waiting(self, sa: &mut IkeSa, reason: DropReason) -> Result<(), DropReason> {
        sa.in_flight = Some(InFlight::IkeSaInit(self));
        Err(reason)
    }

    /// Same request with the responder's cookie in front (RFC 7296 §2.6).
    fn retry_with_cookie(
        mut self,
        cx: &mut Ctx,
        sa: &mut IkeSa,
        connection: &Connection,
        cookie: &[u8],
    ) -> Result<(), DropReason> {
        if cookie.is_empty() || cookie.len() > MAX_COOKIE || self.retries >= MAX_INIT_RETRIES {
            return self.keep_waiting(sa, DropReason::Malformed);
        }
        self.retries += 1;
        self.cookie = Some(cookie.to_vec());
        sa.window.restart();
        self.send(cx, sa, connection);
        Ok(())
    }

    /// Same request with a key exchange that the responder likes better, if we offered it (RFC 7296 §1.2). The cookie
    /// stays: the responder may still want it (RFC 7296 §2.6.1).
    fn retry_with_group(
        mut self,
        cx: &mut Ctx,
        sa: &mut IkeSa,
        connection: &Connection,
        asked: Option<KeId>,
    ) -> Result<(), DropReason> {
        let group = asked.and_then(|asked| proposal::retry_group(&connection.proposals, &self.tried, asked.0));
        let offer = group.and_then(|group| group.offer(&mut *cx.rng).ok());
        let Some(kex) = offer.filter(|_| self.retries < MAX_INIT_RETRIES) else {
            return self.keep_waiting(sa, DropReason::Malformed);
        };
        self.retries += 1;
        self.tried.push(kex.group().id);
        self.kex = kex;
        sa.window.restart();
        self.send(cx, sa, connection);
        Ok(())
    }
}

/// What a response must hold.
struct Reply<'a> {
    suite: IkeSuite,
    ke: &'a [u8],
    nr: &'a [u8],
}

impl<'a> Reply<'a> {
    fn parse(payloads: &Chain<'a>, connection: &Connection, group: &Kex) -> Option<Self> {
        let sa = payloads.sa().ok()?;
        let (suite, _) = offer::accept::<IkeSuite>(sa, &connection.proposals)?;
        let (ke, nr) = (payloads.ke().ok()?, payloads.nonce().ok()?);
        (ke.method.0 == group.id && suite.kex.id == group.id).then_some(Self { suite, ke: ke.data, nr: nr.0 })
    }
}

/// What a request must hold.
pub(crate) struct Request<'a> {
    message: Message<'a>,
    pub(crate) ni: &'a [u8],
    pub(crate) cookie: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// # Errors
    /// A mandatory payload is missing or repeated, or the format is broken.
    pub(crate) fn parse(datagram: &'a [u8]) -> Result<Self, crate::message::DecodeError> {
        let message = Message::decode(datagram)?;
        message.payloads.sa()?;
        message.payloads.ke()?;
        let ni = message.payloads.nonce()?.0;
        let cookie = message.payloads.notify(NotifyType::COOKIE).map(|cookie| cookie.data);
        Ok(Self { message, ni, cookie })
    }
}

/// Answers a request that was admitted: the octets to send, and an SA if it came to one.
pub(crate) fn respond(
    cx: &mut Ctx,
    request: &Request<'_>,
    path: Path,
    datagram: &[u8],
    digest: [u8; 32],
) -> (Vec<u8>, Option<IkeSa>) {
    let (header, payloads) = (&request.message.header, &request.message.payloads);
    let mut response = MessageBuilder::new(header.reply());
    let refuse = |response: &mut MessageBuilder, kind, data: &[u8]| {
        response.notify(kind, data);
        (response.encode(), None)
    };
    let (Ok(offered), Ok(ke)) = (payloads.sa(), payloads.ke()) else {
        return refuse(&mut response, NotifyType::INVALID_SYNTAX, &[]);
    };
    let here: Vec<Arc<Connection>> = candidates(&cx.config, path);
    let choice = here.iter().find_map(|connection| {
        let choice = offer::choose::<IkeSuite>(offered, &connection.proposals).ok()?;
        Some((connection.clone(), choice))
    });
    let Some((connection, choice)) = choice else {
        cx.failed(no_proposal(path, &here, offered));
        return refuse(&mut response, NotifyType::NO_PROPOSAL_CHOSEN, &[]);
    };
    let suite = choice.suite;
    // Another group than the one we would take: the initiator guesses again (RFC 7296 §1.2).
    if ke.method.0 != suite.kex.id {
        return refuse(&mut response, NotifyType::INVALID_KE_PAYLOAD, &suite.kex.id.to_be_bytes());
    }
    let Ok((public, shared)) = suite.kex.answer(&mut *cx.rng, ke.data) else {
        return refuse(&mut response, NotifyType::INVALID_SYNTAX, &[]);
    };
    let (spi_i, spi_r, nr) = (header.initiator_spi, cx.ike_spi(), cx.nonce());

    let mut reply = header.reply();
    reply.responder_spi = spi_r;
    let mut response = MessageBuilder::new(reply);
    response.push(&Payload::Sa(choice.answer(WireSpi::None)));
    response.push(&Payload::Ke(Ke { method: ke.method, data: &public }));
    response.push(&Payload::Nonce(Nonce(&nr)));
    let faked = fakes_nat(&cx.config, &connection);
    notify_support(&mut response, path, faked, (spi_i, spi_r));
    proof::push_cert_req(here.iter().map(|connection| &**connection), &mut response);
    let sent = response.encode();

    let nonces = Nonces { ni: request.ni, nr: &nr };
    let seed = SkeySeed::initial(suite.prf, shared, nonces);
    let keys = seed.expand(KeyLengths::from(suite.encr), nonces, spi_i, spi_r);
    let (secured, keys) = secure(cx, keys, algorithms(&suite), false, (spi_i, spi_r));
    let transcript =
        Transcript { request: datagram.to_vec(), response: sent.clone(), ni: request.ni.to_vec(), nr, keys };
    let origin = Origin {
        initiator: false,
        spi_i,
        spi_r,
        path,
        // Which connection it is follows from the identities (RFC 4301 §4.4.3), not from the address.
        connection: None,
        epoch: cx.epoch,
        phase: Phase::Responding(Box::new(Responding { secured, transcript })),
        window: Window::after_init_response(sent.clone()),
    };
    let mut sa = IkeSa::new(cx.spis.ike(), cx.now.instant, origin);
    sa.init_digest = Some(digest);
    sa.peer = peer_features(payloads);
    sa.nat.faked = faked;
    learn_nat(&mut sa, path, payloads);
    sa.timers.set(Timer::Forget, cx.now.instant + HALF_OPEN_LIFETIME);
    (sent, Some(sa))
}

/// Connections that allow this pair of addresses.
fn candidates(config: &Config, path: Path) -> Vec<Arc<Connection>> {
    Pad::new(config).by_addresses(path.local.ip(), path.remote.ip()).into_iter().cloned().collect()
}

fn algorithms(suite: &IkeSuite) -> IkeAlgorithms {
    IkeAlgorithms { encr: suite.encr, prf: suite.prf.id, group: suite.kex.id }
}

/// The responder refused in the clear. Whoever sees our request can forge that, and gains no more than by dropping
/// it: this attempt fails, the next one is scheduled as after any failure.
fn refused(cx: &mut Ctx, sa: &mut IkeSa, connection: &Connection, kind: NotifyType) {
    let (cause, remedy) = match kind {
        NotifyType::NO_PROPOSAL_CHOSEN => {
            (FailureCause::NoProposal, "give both sides one IKE proposal in common (`proposals`)".to_owned())
        }
        NotifyType::INVALID_SYNTAX => (FailureCause::Protocol, "check the peer's log; update its IKE".to_owned()),
        other => (FailureCause::Notified(other.0), format!("the peer answered {other}: check its log")),
    };
    Report::new(sa, cause)
        .offered(format!("by us: {}", proposal::list(&connection.proposals)))
        .wanted(format!("the peer answered {kind}"))
        .remedy(remedy)
        .send(cx);
    sa.bury(cx, DownReason::Failed);
}

/// Says why nothing offered fits, or that nobody is configured for these addresses.
fn no_proposal(path: Path, here: &[Arc<Connection>], offered: &Sa<'_>) -> event::Failure {
    let nearest = here.first().map(|c| offer::choose::<IkeSuite>(offered, &c.proposals));
    let offered = proposal::list(&offer::read(offered).1);
    let (cause, wanted, remedy) = match nearest {
        Some(Err(miss)) => (
            FailureCause::NoProposal,
            miss.wanted,
            format!("add a common algorithm to `proposals` on one side ({})", miss.difference),
        ),
        _ => (
            FailureCause::NoConnection,
            format!("a connection between {} and {}", path.local.ip(), path.remote.ip()),
            "add one, or widen `local_addrs` or `remote_addrs` of an existing one".to_owned(),
        ),
    };
    event::Failure {
        connection: (here.len() == 1).then(|| here[0].name.clone()),
        child: None,
        ike: None,
        path,
        cause,
        offered: format!("by the peer: {offered}"),
        wanted,
        remedy,
        by_stranger: true,
        repeated: false,
    }
}
