//! The way out: payloads in order, then clear or sealed octets.

use super::header::Header;
use super::numbers::{NotifyType, PayloadType};
use super::payload::{Notify, Payload};
use super::{Encode, Writer};

/// A message under construction. Payloads are encoded as they are pushed, so nothing borrows them afterwards.
///
/// ```
/// use cygnet_ike::message::*;
///
/// let header = Header::new(IkeSpi(1), IkeSpi::ZERO, ExchangeType::IKE_SA_INIT, Flags::request(true), MessageId(0));
/// let mut message = MessageBuilder::new(header);
/// message.push(&Payload::Nonce(payload::Nonce(&[7; 32]))).notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]);
/// let datagram = message.encode();
/// assert_eq!(Message::decode(&datagram).unwrap().payloads.nonce().unwrap().0, [7; 32]);
/// ```
#[derive(Debug)]
pub struct MessageBuilder {
    header: Header,
    first: PayloadType,
    /// Where the last payload's `Next Payload` octet stands in `chain`.
    last: Option<usize>,
    chain: Writer,
}

impl MessageBuilder {
    /// An empty message. First payload and length of `header` are filled in later.
    pub fn new(header: Header) -> Self {
        Self { header, first: PayloadType::NONE, last: None, chain: Writer::new() }
    }

    /// A message whose payloads are `content`, whatever that is.
    pub(super) fn from_content(header: Header, first: PayloadType, content: &[u8]) -> Self {
        let mut chain = Writer::new();
        chain.bytes(content);
        Self { header, first, last: None, chain }
    }

    /// Appends a payload.
    pub fn push(&mut self, payload: &Payload<'_>) -> &mut Self {
        match self.last {
            None => self.first = payload.kind(),
            Some(at) => self.chain.patch_u8(at, payload.kind().0),
        }
        self.last = Some(self.chain.len());
        let critical = if payload.critical() { super::chain::CRITICAL } else { 0 };
        self.chain.nested(&[PayloadType::NONE.0, critical], |w| payload.encode(w));
        self
    }

    /// Appends a notification that concerns no Child SA.
    pub fn notify(&mut self, kind: NotifyType, data: &[u8]) -> &mut Self {
        self.push(&Payload::Notify(Notify::new(kind, data)))
    }

    /// The header as given.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Type of the first payload.
    pub fn first(&self) -> PayloadType {
        self.first
    }

    /// The payloads with their generic headers: what an SK payload protects (RFC 7296 §3.14), and what the
    /// authentication of IKE_INTERMEDIATE covers (RFC 9242 §3.3.1).
    pub fn content(&self) -> &[u8] {
        self.chain.as_slice()
    }

    /// Whether no payload was pushed.
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// The message in the clear: IKE_SA_INIT, and notifications outside of any SA (RFC 7296 §1.5, §2.21.4).
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        let length = Header::LEN.saturating_add(self.chain.len());
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        Header { next_payload: self.first, length, ..self.header }.encode(&mut w);
        w.bytes(self.chain.as_slice());
        w.into_vec()
    }
}
