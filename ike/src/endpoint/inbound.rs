//! Which SA a datagram belongs to, and what to do if there is none (RFC 7296 §2.1, §2.6, §2.21.4).

use std::net::IpAddr;

use ring::digest;

use super::admission::{HalfOpen, InitRequest, Verdict};
use super::{Endpoint, Now};
use crate::event::DropReason;
use crate::exchange::ike_sa_init;
use crate::limits::INIT_LEN;
use crate::message::{ExchangeType, Header, MessageBuilder, NotifyType, Version};
use crate::output::{IkeSaId, Path};

/// Names an IKE_SA_INIT request by its content.
pub(super) type Digest = [u8; 32];

impl Endpoint {
    /// Takes a datagram, the non-ESP marker stripped; it is opened in place.
    pub fn handle_datagram(&mut self, now: Now, path: Path, datagram: &mut [u8]) {
        self.cx.now = now;
        if let Err(reason) = self.dispatch(path, datagram) {
            self.cx.dropped(path, reason);
        }
    }

    fn dispatch(&mut self, path: Path, datagram: &mut [u8]) -> Result<(), DropReason> {
        let header = Header::peek(datagram).map_err(|_| DropReason::Malformed)?;
        if header.version.major > Version::V2.major {
            return self.refuse_version(path, &header);
        }
        header.check(datagram.len()).map_err(|_| DropReason::Malformed)?;
        if header.exchange == ExchangeType::IKE_SA_INIT && !header.flags.response {
            return self.receive_init_request(path, &header, datagram);
        }
        let Some(id) = self.find(&header) else { return self.refuse_spi(path, &header) };
        self.with_sa(id, |sa, cx| sa.handle_message(cx, path, &header, datagram));
        Ok(())
    }

    /// The I flag says whose SPI is whose: it is set in what the SA's initiator sends (RFC 7296 §3.1).
    fn find(&self, header: &Header) -> Option<IkeSaId> {
        let by_initiator = header.flags.initiator;
        let (ours, theirs) = match by_initiator {
            true => (header.responder_spi, header.initiator_spi),
            false => (header.initiator_spi, header.responder_spi),
        };
        let id = *self.by_spi.get(&ours)?;
        let sa = self.sas.get(&id)?;
        let answers_init = header.exchange == ExchangeType::IKE_SA_INIT && sa.remote_spi().is_zero();
        (sa.initiator != by_initiator && (answers_init || sa.remote_spi() == theirs)).then_some(id)
    }

    /// The first message of somebody: known, challenged, refused or served.
    fn receive_init_request(&mut self, path: Path, header: &Header, datagram: &mut [u8]) -> Result<(), DropReason> {
        let well_formed = header.flags.initiator
            && header.responder_spi.is_zero()
            && !header.initiator_spi.is_zero()
            && header.message_id.0 == 0;
        if !well_formed || datagram.len() > INIT_LEN {
            return Err(DropReason::Malformed);
        }
        // Our own request, come back to us: we dialled ourselves, or somebody plays tricks.
        if self.by_spi.contains_key(&header.initiator_spi) {
            return Err(DropReason::Unexpected);
        }
        let digest = digest(datagram);
        if let Some(id) = self.by_init.get(&digest).copied() {
            self.with_sa(id, |sa, cx| sa.handle_message(cx, path, header, datagram));
            return Ok(());
        }
        if self.stopping {
            return Err(DropReason::Unexpected);
        }
        let request = match ike_sa_init::Request::parse(datagram) {
            Ok(request) => request,
            Err(error) => {
                // In the clear, so said once and forgotten (RFC 7296 §2.21.1).
                if self.admission.may_answer_stranger(self.cx.now.instant) {
                    let mut answer = MessageBuilder::new(header.reply());
                    answer.notify(error.notify(), &error.notify_data());
                    self.cx.transmit(path, &[answer.encode()]);
                }
                return Err(DropReason::Malformed);
            }
        };
        let from =
            InitRequest { spi_i: header.initiator_spi.0, ni: request.ni, from: path.remote, cookie: request.cookie };
        let half_open = HalfOpen {
            all: self.half_open.len(),
            from_here: &|| {
                let here = |id: &&IkeSaId| self.counted.get(id).is_some_and(|at| same_host(*at, path.remote.ip()));
                self.half_open.iter().filter(here).count()
            },
        };
        let cx = &mut self.cx;
        match self.admission.judge(cx.now.instant, &mut *cx.rng, half_open, from) {
            Verdict::Refuse => Err(DropReason::Overload),
            Verdict::Challenge(cookie) => {
                let mut answer = MessageBuilder::new(header.reply());
                answer.notify(NotifyType::COOKIE, &cookie);
                cx.transmit(path, &[answer.encode()]);
                Ok(())
            }
            Verdict::Admit => {
                let (answer, sa) = ike_sa_init::respond(cx, &request, path, datagram, digest);
                cx.transmit(path, &[answer]);
                if let Some(sa) = sa {
                    self.insert(sa);
                }
                Ok(())
            }
        }
    }

    /// A request for an SA that we do not have: the peer may be left with half of one, and hears about it in the clear,
    /// which proves nothing to it (RFC 7296 §2.21.4). Responses get no answer.
    fn refuse_spi(&mut self, path: Path, header: &Header) -> Result<(), DropReason> {
        if !header.flags.response && self.admission.may_answer_stranger(self.cx.now.instant) {
            let mut answer = MessageBuilder::new(header.reply());
            answer.notify(NotifyType::INVALID_IKE_SPI, &[]);
            self.cx.transmit(path, &[answer.encode()]);
        }
        Err(DropReason::UnknownSpi)
    }

    /// A higher major version: we name ours (RFC 7296 §2.5).
    fn refuse_version(&mut self, path: Path, header: &Header) -> Result<(), DropReason> {
        if !header.flags.response && self.admission.may_answer_stranger(self.cx.now.instant) {
            let mut answer = MessageBuilder::new(header.reply());
            answer.notify(NotifyType::INVALID_MAJOR_VERSION, &[]);
            self.cx.transmit(path, &[answer.encode()]);
        }
        Err(DropReason::Malformed)
    }
}

/// Whether two addresses are likely one host's: it can choose among the 2^64 of an IPv6 prefix.
fn same_host(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() >> 64 == b.to_bits() >> 64,
        (a, b) => a == b,
    }
}

fn digest(datagram: &[u8]) -> Digest {
    let mut out = Digest::default();
    out.copy_from_slice(digest::digest(&digest::SHA256, datagram).as_ref());
    out
}
