//! Why octets are not a message, and what to tell the peer about it (RFC 7296 §2.21).

use std::fmt;

use super::numbers::{NotifyType, PayloadType};

/// A broken rule of the format.
///
/// What to answer, if anything, depends on whether the message was authenticated (RFC 7296 §2.21); *which* error it
/// is depends only on this: [`DecodeError::notify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// A field or nested structure ends before its own length says.
    Truncated,
    /// Octets are left over where a structure should end.
    TrailingOctets,
    /// The header's length is not that of the datagram.
    MessageLength,
    /// A length field is smaller than the header it stands in, or not a multiple of what it counts.
    BadLength,
    /// A major version other than 2 (RFC 7296 §2.5).
    InvalidMajorVersion(u8),
    /// An unknown payload with the critical bit set (RFC 7296 §2.5).
    UnsupportedCriticalPayload(PayloadType),
    /// More of something than its bound in [`limits`](crate::limits).
    TooMany(&'static str),
    /// The exchange requires this payload.
    Missing(PayloadType),
    /// This payload may appear once.
    Repeated(PayloadType),
    /// This payload may not appear here: SK or SKF inside SK, or before another payload (RFC 7296 §3.14).
    Misplaced(PayloadType),
    /// A proposal's or transform's `Last Substruc` field does not fit its place (RFC 7296 §3.3.1, §3.3.2).
    LastSubstructure,
    /// Proposals are not numbered 1, 2, 3, … (RFC 7296 §3.3.1).
    ProposalNumber,
    /// A nonce of fewer than 16 or more than 256 octets (RFC 7296 §3.9).
    NonceLength,
    /// A range whose start lies behind its end (RFC 7296 §3.13.1).
    BadRange,
    /// An SPI of a size that its protocol does not have (RFC 7296 §3.10, §3.11).
    SpiSize,
    /// An EAP message whose length or code is wrong (RFC 7296 §3.16).
    Eap,
    /// A fragment number of zero or above the total (RFC 7383 §2.5).
    FragmentNumber,
    /// The message carries no SK or SKF payload where one is required, or carries one where none may be.
    NotProtected,
    /// Padding that does not fit into the decrypted payload (RFC 7296 §3.14).
    Padding,
}

impl DecodeError {
    /// The error notification that names this error (RFC 7296 §2.21, §3.10.1).
    pub fn notify(self) -> NotifyType {
        match self {
            Self::InvalidMajorVersion(_) => NotifyType::INVALID_MAJOR_VERSION,
            Self::UnsupportedCriticalPayload(_) => NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
            _ => NotifyType::INVALID_SYNTAX,
        }
    }

    /// The notification data that goes with [`notify`](Self::notify): the payload type for
    /// UNSUPPORTED_CRITICAL_PAYLOAD, otherwise nothing (RFC 7296 §3.10.1).
    pub fn notify_data(self) -> Vec<u8> {
        match self {
            Self::UnsupportedCriticalPayload(kind) => vec![kind.0],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("a field ends too early"),
            Self::TrailingOctets => f.write_str("octets are left over"),
            Self::MessageLength => f.write_str("the header's length is not the datagram's"),
            Self::BadLength => f.write_str("a length field is impossible"),
            Self::InvalidMajorVersion(major) => write!(f, "IKE major version {major}"),
            Self::UnsupportedCriticalPayload(kind) => write!(f, "unknown critical payload {kind}"),
            Self::TooMany(what) => write!(f, "too many {what}"),
            Self::Missing(kind) => write!(f, "payload {kind} is missing"),
            Self::Repeated(kind) => write!(f, "payload {kind} is repeated"),
            Self::Misplaced(kind) => write!(f, "payload {kind} is misplaced"),
            Self::LastSubstructure => f.write_str("wrong Last Substruc field"),
            Self::ProposalNumber => f.write_str("proposals are not numbered in order"),
            Self::NonceLength => f.write_str("a nonce must have 16 to 256 octets"),
            Self::BadRange => f.write_str("a range starts behind its end"),
            Self::SpiSize => f.write_str("an SPI size does not fit its protocol"),
            Self::Eap => f.write_str("an EAP message is malformed"),
            Self::FragmentNumber => f.write_str("an impossible fragment number"),
            Self::NotProtected => f.write_str("protection is missing or out of place"),
            Self::Padding => f.write_str("padding exceeds the payload"),
        }
    }
}

impl std::error::Error for DecodeError {}
