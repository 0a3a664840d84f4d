//! The messages of one IKE SA: authenticated first, then placed by message ID, then processed.

use cygnet_spd::Mode;

use super::IkeSa;
use super::children::ChildSa;
use super::phase::Phase;
use super::window::Verdict;
use crate::endpoint::context::Ctx;
use crate::event::DropReason;
use crate::exchange::{self, Failure, InFlight, Task};
use crate::message::{DecodeError, ExchangeType, Header, MessageBuilder, NotifyType, OpenError, Opened, Received};
use crate::output::{ChildId, Path};
use crate::status::ChildState;

impl IkeSa {
    /// A datagram that names this SA.
    pub(crate) fn handle_message(&mut self, cx: &mut Ctx, path: Path, header: &Header, datagram: &mut [u8]) {
        if let Err(reason) = self.receive(cx, path, header, datagram) {
            cx.dropped(path, reason);
        }
        self.start_next(cx);
    }

    fn receive(&mut self, cx: &mut Ctx, path: Path, header: &Header, datagram: &mut [u8]) -> Result<(), DropReason> {
        if header.exchange == ExchangeType::IKE_SA_INIT {
            return self.receive_init(cx, path, header, datagram);
        }
        let id = header.message_id.0;
        let in_window = match header.flags.response {
            true => self.window.answers(id) && self.in_flight.as_ref().map(InFlight::exchange) == Some(header.exchange),
            false => self.window.judge(id) != Verdict::Outside,
        };
        let secured = self.phase.secured().ok_or(DropReason::Unexpected)?;
        // Outside of the window nothing is processed, so it need not be opened either.
        if !in_window {
            return Err(DropReason::MessageId);
        }
        match secured.opener.open(datagram) {
            Err(OpenError::Envelope(_)) => Err(DropReason::Malformed),
            Err(OpenError::Integrity) => Err(DropReason::Integrity),
            Err(OpenError::Content(error)) => self.process(cx, path, header, Err(error)),
            Ok(Received::Whole(opened)) => self.process(cx, path, header, Ok(&opened)),
            Ok(Received::Fragment(fragment)) => {
                // The cached response answers the first fragment alone (RFC 7383 §2.6.1).
                if !header.flags.response && self.window.judge(id) == Verdict::Repeat {
                    if fragment.number() == 1 {
                        self.repeat_response(cx, path);
                    }
                    return Ok(());
                }
                let reassembly = if header.flags.response { &mut self.responses } else { &mut self.requests };
                let Some(message) = reassembly.add(fragment) else { return Ok(()) };
                match message.opened() {
                    Ok(opened) => self.process(cx, path, header, Ok(&opened)),
                    Err(error) => self.process(cx, path, header, Err(error)),
                }
            }
        }
    }

    /// IKE_SA_INIT is in the clear: a response to ours, or the peer's request once more.
    fn receive_init(&mut self, cx: &mut Ctx, path: Path, header: &Header, datagram: &[u8]) -> Result<(), DropReason> {
        if !header.flags.response {
            // The endpoint compared the digest: this is our initiator's request, bit by bit (RFC 7296 §2.1).
            return match self.window.judge(header.message_id.0) {
                Verdict::Repeat => {
                    self.repeat_response(cx, path);
                    Ok(())
                }
                _ => Err(DropReason::MessageId),
            };
        }
        if !self.window.answers(header.message_id.0) {
            return Err(DropReason::MessageId);
        }
        match self.in_flight.take() {
            Some(InFlight::IkeSaInit(exchange)) => exchange.finish(cx, self, path, datagram),
            other => {
                self.in_flight = other;
                Err(DropReason::Unexpected)
            }
        }
    }

    /// An authentic message, or what is wrong with it.
    fn process(
        &mut self,
        cx: &mut Ctx,
        path: Path,
        header: &Header,
        message: Result<&Opened<'_>, DecodeError>,
    ) -> Result<(), DropReason> {
        self.heard(cx);
        if header.flags.response {
            return self.process_response(cx, path, message);
        }
        if self.window.judge(header.message_id.0) == Verdict::Repeat {
            self.repeat_response(cx, path);
            return Ok(());
        }
        self.follow(cx, path);
        self.confirm_by_request(cx);
        let outcome = message.map_err(Failure::from).and_then(|opened| exchange::respond(cx, self, opened));
        match outcome {
            Ok(response) => self.send_response(cx, path, &response),
            Err(Failure::Drop(reason)) => self.drop_sealed(cx, path, reason),
            Err(Failure::Notify(kind, data)) => {
                let mut response = MessageBuilder::new(header.reply());
                response.notify(kind, &data);
                self.send_response(cx, path, &response);
            }
            Err(Failure::Fatal(kind, data)) => {
                let mut response = MessageBuilder::new(header.reply());
                response.notify(kind, &data);
                self.send_response(cx, path, &response);
                self.refuse(cx, kind);
            }
        }
        Ok(())
    }

    fn process_response(
        &mut self,
        cx: &mut Ctx,
        path: Path,
        message: Result<&Opened<'_>, DecodeError>,
    ) -> Result<(), DropReason> {
        let Some(exchange) = self.in_flight.take() else { return Err(DropReason::Unexpected) };
        self.window.answered();
        self.confirm(cx);
        let is_over = |opened: &&Opened<'_>| opened.payloads().has_notify(NotifyType::INVALID_SYNTAX);
        if self.is_established() && !exchange.ends_sa() && message.as_ref().is_ok_and(is_over) {
            self.rejected(cx);
            return Ok(());
        }
        let outcome = message.map_err(Failure::from).and_then(|opened| exchange.finish(cx, self, opened));
        match outcome {
            Ok(()) => {}
            Err(Failure::Drop(reason)) => self.drop_sealed(cx, path, reason),
            // A response cannot be answered. What breaks the protocol ends the SA (RFC 7296 §2.21.3).
            Err(Failure::Notify(kind, _) | Failure::Fatal(kind, _)) => self.break_off(cx, kind),
        }
        Ok(())
    }

    /// What was sealed with the keys of this SA was sent by its peer; by whom that is, IKE_AUTH tells.
    fn drop_sealed(&self, cx: &mut Ctx, path: Path, reason: DropReason) {
        match self.is_established() {
            true => cx.dropped_of_peer(path, reason),
            false => cx.dropped(path, reason),
        }
    }

    fn repeat_response(&mut self, cx: &mut Ctx, path: Path) {
        // Only to the host that the request came from: who repeats it from elsewhere may have sent it in another's name.
        if path.remote.ip() == self.path.remote.ip() {
            let datagrams = self.window.cached().to_vec();
            cx.transmit(path, &datagrams);
        }
    }

    /// A fresh authentic request came over another path: the peer's address changed, or its NAT's mapping. The side
    /// that is itself behind a NAT does not follow (RFC 7296 §2.23).
    fn follow(&mut self, cx: &mut Ctx, path: Path) {
        // Until it is authenticated it keeps to its hosts: the answer to IKE_SA_INIT reached it there. Ports change as it
        // passes to those of NAT traversal.
        let same_hosts = (path.local.ip(), path.remote.ip()) == (self.path.local.ip(), self.path.remote.ip());
        let half_open = matches!(self.phase, Phase::Responding(_)) && same_hosts;
        let behind_nat = self.nat.remote && !self.nat.local && path.marker == self.path.marker;
        if path == self.path || !(half_open || behind_nat) {
            return;
        }
        let before = std::mem::replace(&mut self.path, path);
        for child in self.children.ids() {
            cx.move_child(child, path);
        }
        if before.remote.ip() != path.remote.ip() {
            // Their selectors name an address that is no more; the answer to this request goes first.
            let in_transport = |child: &&ChildSa| child.mode == Mode::Transport && child.state == ChildState::Installed;
            let moved: Vec<ChildId> = self.children.iter().filter(in_transport).map(|child| child.id).collect();
            self.queue.extend(moved.into_iter().map(Task::RekeyChild));
        }
    }
}
