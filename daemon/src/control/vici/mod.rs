//! The vici wire format: strongSwan's versatile IKE control interface.
//!
//! A vici *message* is an ordered tree of sections, lists and values; a *packet* is a message with a kind and, for
//! most kinds, a name; a *frame* is a packet behind its length. The three files below know one of these each and
//! nothing of IKE.
//!
//! Everything read from the socket is bounded before it is believed: a frame by [`frame::MAX_FRAME`] before its buffer is
//! allocated, a tree by [`message::MAX_DEPTH`] and [`message::MAX_ELEMENTS`] while it is built. The decoder keeps its own stack,
//! so nesting can't exhaust the thread's. Values are wiped when dropped, as some commands carry secrets.

pub mod frame;
pub mod message;
pub mod packet;

pub use frame::{read_frame, write_frame};
pub use message::{DecodeError, EncodeError, Message, Value};
pub use packet::Packet;

/// The body of the fuzz target for the control socket: whatever `octets` are, decoding them returns, and what decodes
/// encodes to something that decodes to the same.
pub fn fuzz(octets: &[u8]) {
    let Ok(packet) = Packet::decode(octets) else { return };
    let encoded = packet.encode().expect("a decoded packet is within every bound");
    assert_eq!(Packet::decode(&encoded).expect("our own encoding decodes"), packet);
}

#[cfg(test)]
mod tests;
