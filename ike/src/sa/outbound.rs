//! What an IKE SA sends: requests one after the other, responses kept for repetition (RFC 7296 §2.1-§2.3).

use super::IkeSa;
use super::phase::Phase;
use super::timers::Timer;
use crate::config::Retransmit;
use crate::endpoint::context::Ctx;
use crate::exchange::{self, InFlight, Task};
use crate::limits::MAX_QUEUED;
use crate::message::{ExchangeType, Flags, Header, MessageBuilder, MessageId};
use crate::output::{ChildId, Path};

impl IkeSa {
    /// Queues an exchange and starts it as soon as the window allows. What is queued or in flight already is not
    /// queued again, and nothing is on an SA that is on its way out.
    pub(crate) fn push(&mut self, cx: &mut Ctx, task: Task) {
        if matches!(self.phase, Phase::Closing { .. }) || self.is_deleting() {
            return;
        }
        let known = self.queue.contains(&task) || self.in_flight.as_ref().is_some_and(|e| e.is_for(&task));
        if !known && self.queue.len() < MAX_QUEUED {
            self.queue.push_back(task);
        }
        self.start_next(cx);
    }

    /// Queued deletions of a child that has been replaced mean its successor.
    pub(crate) fn retarget(&mut self, old: ChildId, new: ChildId) {
        for task in &mut self.queue {
            if let Task::DeleteChild(child, _) = task
                && *child == old
            {
                *child = new;
            }
        }
    }

    /// Starts queued exchanges until one is in flight.
    pub(crate) fn start_next(&mut self, cx: &mut Ctx) {
        while self.is_established() && self.in_flight.is_none() && !self.window.is_busy() {
            let Some(task) = self.next_task().and_then(|at| self.queue.remove(at)) else { return };
            exchange::start(cx, self, task);
        }
    }

    /// Which one comes next. A queue that waits for the peer to be ready again (TEMPORARY_FAILURE) has its timer set; a
    /// Delete of the whole SA does not wait. What nothing depends on comes last.
    fn next_task(&self) -> Option<usize> {
        let waits = |timer| self.timers.at(timer).is_some();
        let (waiting, optional_waiting) = (waits(Timer::Queue), waits(Timer::Optional));
        let first = self.queue.iter().position(|task| match task {
            Task::DeleteIke(_) => true,
            task => !waiting && !task.is_optional(),
        });
        first.or_else(|| self.queue.iter().position(|task| !waiting && !optional_waiting && task.is_optional()))
    }

    /// An empty request of this exchange, with the next message ID.
    pub(crate) fn request(&self, exchange: ExchangeType) -> MessageBuilder {
        let id = MessageId(self.window.request_id());
        MessageBuilder::new(Header::new(self.spi_i, self.spi_r, exchange, Flags::request(self.initiator), id))
    }

    /// Seals and sends a request; its exchange waits for the response.
    pub(crate) fn send_request(&mut self, cx: &mut Ctx, request: &MessageBuilder, exchange: InFlight) {
        let datagrams = self.seal(request);
        self.send_datagrams(cx, datagrams, exchange);
    }

    /// Sends a request in the clear; its exchange waits for the response.
    pub(crate) fn send_clear(&mut self, cx: &mut Ctx, request: &MessageBuilder, exchange: InFlight) {
        let datagrams = vec![request.encode()];
        self.send_datagrams(cx, datagrams, exchange);
    }

    fn send_datagrams(&mut self, cx: &mut Ctx, datagrams: Vec<Vec<u8>>, exchange: InFlight) {
        cx.transmit(self.path, &datagrams);
        let policy = self.retransmit(cx);
        self.window.sent(cx.now.instant, datagrams, &policy);
        self.in_flight = Some(exchange);
    }

    /// Seals, sends and caches the response to the expected request.
    pub(crate) fn send_response(&mut self, cx: &mut Ctx, path: Path, response: &MessageBuilder) {
        let datagrams = self.seal(response);
        cx.transmit(path, &datagrams);
        self.window.responded(datagrams);
    }

    /// SK, or SKF where the message is longer than the connection's fragments and the peer takes them.
    fn seal(&mut self, message: &MessageBuilder) -> Vec<Vec<u8>> {
        let configured = self.connection.as_ref().and_then(|c| c.fragment_size);
        let fragment_size = configured.filter(|_| self.peer.fragmentation);
        let Some(secured) = self.phase.secured_mut() else { return Vec::new() };
        // What cannot be sealed (a key used up, a message of more than 64 KiB) is not sent, and ends in a timeout.
        match fragment_size {
            Some(max) => secured.sealer.seal_fragmented(message, max).unwrap_or_default(),
            None => secured.sealer.seal(message).map(|datagram| vec![datagram]).unwrap_or_default(),
        }
    }

    /// How requests of this SA are repeated.
    pub(crate) fn retransmit(&self, cx: &Ctx) -> Retransmit {
        let own = self.connection.as_ref().filter(|_| self.is_established()).and_then(|c| c.retransmit);
        own.unwrap_or(cx.config.retransmit)
    }
}
