//! IKEv2 messages on the wire (RFC 7296 §3): parsing, building, protecting.
//!
//! ```text
//!  datagram ─► Header::peek ─► Message::decode (clear) ─────────────► Chain of Payload
//!                         └──► Opener::open (SK, SKF) ─► Opened ────► Chain of Payload
//!  MessageBuilder ─► encode (clear) | Sealer::seal (SK, or SKF when large) ─► datagrams
//! ```
//!
//! | file | RFC 7296 |
//! |---|---|
//! | [`header`] | §3.1 |
//! | [`chain`] | §3.2 generic payload header, critical bit, §2.5 unknown payloads |
//! | [`payload`] | §3.3–§3.16, one file each |
//! | [`sealed`] | §3.14, RFC 5282, RFC 7383 |
//! | [`numbers`] | the IANA registries |
//! | [`builder`] | the way out |
//!
//! Parsed payloads borrow from the datagram. Nothing here keeps state, allocates in proportion to anything but the
//! input, or can panic on it: [`Reader`] is the only way to the octets, and the lints below forbid the others.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod builder;
pub mod chain;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod header;
pub mod numbers;
pub mod payload;
mod reader;
pub mod sealed;
mod writer;

pub use builder::MessageBuilder;
pub use chain::{Chain, Message};
pub use error::DecodeError;
pub use header::{Flags, Header, IkeSpi, MessageId, Version};
pub use numbers::*;
pub use payload::Payload;
pub use reader::Reader;
pub use sealed::{Fragment, OpenError, Opened, Opener, Reassembled, Received, SealError, Sealer};
pub use writer::Writer;

/// Writes its wire form.
pub trait Encode {
    /// Appends the wire form to `w`. For a payload: the body, without the generic header.
    fn encode(&self, w: &mut Writer);
}

/// Reads its wire form. `r` holds exactly the octets that belong to the value.
pub trait Decode<'a>: Sized {
    /// Takes the value off `r`.
    ///
    /// # Errors
    /// The octets break the format or a bound of [`limits`](crate::limits).
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError>;
}

#[cfg(test)]
mod tests;
