//! Opening SK and SKF messages in place, and putting fragments together.

use std::fmt;

use cygnet_esp::cipher::{Aad, Cipher, CipherError, Encr, KeyLength};

use super::super::chain::{Chain, RawChain};
use super::super::header::Header;
use super::super::numbers::PayloadType;
use super::super::{Decode, DecodeError, Reader};
use crate::limits;

/// Opens messages under one key, SK_e with SK_a of one direction.
pub struct Opener {
    encr: &'static Encr,
    cipher: Box<dyn Cipher>,
}

/// What came out of a protected datagram.
#[derive(Debug)]
pub enum Received<'a> {
    /// A whole message.
    Whole(Opened<'a>),
    /// A part of one (RFC 7383).
    Fragment(Fragment),
}

/// An authenticated message.
///
/// Only this module makes one, after the integrity check: a function that takes it cannot be called on anything
/// else.
#[derive(Debug)]
pub struct Opened<'a> {
    header: Header,
    payloads: Chain<'a>,
    first: PayloadType,
    content: &'a [u8],
}

/// An authenticated fragment of a message (RFC 7383 §2.5). Only this module makes one, after the integrity check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    header: Header,
    number: u16,
    total: u16,
    first: PayloadType,
    content: Vec<u8>,
}

/// Fragments put together again; [`opened`](Self::opened) reads them.
#[derive(Debug)]
pub struct Reassembled {
    header: Header,
    first: PayloadType,
    content: Vec<u8>,
}

/// Why a datagram could not be opened. Only [`OpenError::Content`] may change an SA or be answered under its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenError {
    /// The envelope is malformed. Not authenticated: drop (RFC 7296 §2.21.4).
    Envelope(DecodeError),
    /// The integrity check failed: drop.
    Integrity,
    /// The message is authentic but breaks the protocol: answer a request with [`DecodeError::notify`]
    /// (RFC 7296 §2.21.3).
    Content(DecodeError),
}

/// Where the parts of a protected datagram are.
struct Envelope {
    header: Header,
    /// Type of the first payload inside.
    first: PayloadType,
    /// Fragment number and total, for SKF.
    fragment: Option<(u16, u16)>,
    /// Octets from the IKE header to the start of the IV.
    aad_len: usize,
    /// An unknown critical payload in front of SK or SKF: to be reported once it is known to be authentic.
    critical: Option<DecodeError>,
}

impl Envelope {
    fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(datagram);
        let header = Header::decode(&mut r)?;
        header.check(datagram.len())?;
        let mut critical = None;
        let mut envelope = None;
        for raw in RawChain::new(header.next_payload, r.rest()) {
            let raw = raw?;
            critical = critical.or(raw.refuse_critical().err());
            if raw.kind == PayloadType::SK || raw.kind == PayloadType::SKF {
                envelope = Some(raw);
            }
        }
        // The walk ends with SK or SKF and finds nothing behind: what they hold is the datagram's end.
        let raw = envelope.ok_or(DecodeError::NotProtected)?;
        let mut body = Reader::new(raw.body);
        let fragment = if raw.kind == PayloadType::SKF { Some(fragment_numbers(&mut body)?) } else { None };
        let aad_len = datagram.len().saturating_sub(body.len());
        Ok(Self { header, first: raw.next, fragment, aad_len, critical })
    }
}

fn fragment_numbers(r: &mut Reader<'_>) -> Result<(u16, u16), DecodeError> {
    let (number, total) = (r.u16()?, r.u16()?);
    if number == 0 || number > total {
        return Err(DecodeError::FragmentNumber);
    }
    if usize::from(total) > limits::FRAGMENTS {
        return Err(DecodeError::TooMany("fragments"));
    }
    Ok((number, total))
}

impl Opener {
    /// An opener for a key. `encryption` is SK_e including the salt, `integrity` SK_a, empty for an AEAD.
    ///
    /// # Errors
    /// The lengths are not those of `encr`.
    pub fn new(encr: &'static Encr, encryption: &[u8], integrity: &[u8]) -> Result<Self, KeyLength> {
        Ok(Self { encr, cipher: encr.key(encryption, integrity)? })
    }

    /// The algorithm.
    pub fn encr(&self) -> &'static Encr {
        self.encr
    }

    /// Verifies and decrypts a datagram in place. After an error its content is unspecified.
    ///
    /// # Errors
    /// See [`OpenError`], which tells authentic from other failures.
    pub fn open<'a>(&self, datagram: &'a mut [u8]) -> Result<Received<'a>, OpenError> {
        let Envelope { header, first, fragment, aad_len, critical } =
            Envelope::decode(datagram).map_err(OpenError::Envelope)?;
        let plain = self.decrypt(datagram, aad_len)?;

        if let Some(error) = critical {
            return Err(OpenError::Content(error));
        }
        let content = without_padding(plain).map_err(OpenError::Content)?;
        match fragment {
            None => Opened::decode(header, first, content).map(Received::Whole).map_err(OpenError::Content),
            Some((number, total)) => {
                Ok(Received::Fragment(Fragment { header, number, total, first, content: content.to_vec() }))
            }
        }
    }

    /// Verifies the datagram and decrypts what stands between IV and ICV: payloads, padding, pad length.
    fn decrypt<'a>(&self, datagram: &'a mut [u8], aad_len: usize) -> Result<&'a [u8], OpenError> {
        let short = OpenError::Envelope(DecodeError::Truncated);
        let (aad, rest) = datagram.split_at_mut_checked(aad_len).ok_or(short)?;
        let (iv, rest) = rest.split_at_mut_checked(self.encr.iv_len).ok_or(short)?;
        let body_len = rest.len().checked_sub(self.encr.icv_len).ok_or(short)?;
        let (body, icv) = rest.split_at_mut_checked(body_len).ok_or(short)?;
        self.cipher.open(Aad::new(aad), iv, body, icv).map_err(|error| match error {
            CipherError::Length => OpenError::Envelope(DecodeError::BadLength),
            CipherError::Forged => OpenError::Integrity,
        })?;
        Ok(body)
    }
}

/// The content before the padding, whose length is the last octet (RFC 7296 §3.14). Padding may hold anything.
pub(super) fn without_padding(plain: &[u8]) -> Result<&[u8], DecodeError> {
    let (&padding, rest) = plain.split_last().ok_or(DecodeError::Padding)?;
    let len = rest.len().checked_sub(usize::from(padding)).ok_or(DecodeError::Padding)?;
    rest.get(..len).ok_or(DecodeError::Padding)
}

impl<'a> Opened<'a> {
    fn decode(header: Header, first: PayloadType, content: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Self { header, payloads: Chain::decode(first, content)?, first, content })
    }

    /// The header; of a reassembled message, that of its first fragment.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The payloads inside.
    pub fn payloads(&self) -> &Chain<'a> {
        &self.payloads
    }

    /// Type of the first payload inside.
    pub fn first(&self) -> PayloadType {
        self.first
    }

    /// The decrypted payloads with their generic headers, as the authentication of IKE_INTERMEDIATE covers them
    /// (RFC 9242 §3.3.1).
    pub fn content(&self) -> &'a [u8] {
        self.content
    }
}

impl Fragment {
    /// The header of the datagram.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its number, from 1 to [`total`](Self::total).
    pub fn number(&self) -> u16 {
        self.number
    }

    /// How many fragments make the message.
    pub fn total(&self) -> u16 {
        self.total
    }

    /// Octets of content.
    pub fn len(&self) -> usize {
        self.content.len()
    }

    /// Whether it has no content.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }
}

impl Reassembled {
    /// Puts a message together (RFC 7383 §2.6).
    ///
    /// # Errors
    /// `fragments` are not numbers 1, 2, … up to the common total of one message, or too much content.
    pub fn new<'f>(fragments: impl IntoIterator<Item = &'f Fragment>) -> Result<Self, DecodeError> {
        let mut fragments = fragments.into_iter();
        let first = fragments.next().filter(|fragment| fragment.number == 1).ok_or(DecodeError::FragmentNumber)?;
        let mut whole = Self { header: first.header, first: first.first, content: first.content.clone() };
        let mut number = first.number;
        for next in fragments {
            let expected = number.checked_add(1).ok_or(DecodeError::FragmentNumber)?;
            if next.number != expected || next.total != first.total || !same_message(&next.header, &first.header) {
                return Err(DecodeError::FragmentNumber);
            }
            if whole.content.len().saturating_add(next.content.len()) > limits::MESSAGE_LEN {
                return Err(DecodeError::MessageLength);
            }
            whole.content.extend_from_slice(&next.content);
            number = expected;
        }
        if number == first.total { Ok(whole) } else { Err(DecodeError::FragmentNumber) }
    }

    /// The payloads with their generic headers.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Reads the message.
    ///
    /// # Errors
    /// It is authentic but breaks the protocol, as for [`OpenError::Content`].
    pub fn opened(&self) -> Result<Opened<'_>, DecodeError> {
        Opened::decode(self.header, self.first, &self.content)
    }
}

fn same_message(a: &Header, b: &Header) -> bool {
    let key = |h: &Header| (h.initiator_spi, h.responder_spi, h.exchange, h.flags, h.message_id);
    key(a) == key(b)
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("encr", self.encr).finish_non_exhaustive()
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(error) => write!(f, "malformed envelope: {error}"),
            Self::Integrity => f.write_str("integrity check failed"),
            Self::Content(error) => write!(f, "authentic but malformed: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}
