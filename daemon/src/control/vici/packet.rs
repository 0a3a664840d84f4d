//! The packet: what a message is for.

use super::frame::MAX_FRAME;
use super::message::{DecodeError, EncodeError, Message, encode_name};

/// Packet types, as strongSwan numbers them.
mod kind {
    pub(super) const CMD_REQUEST: u8 = 0;
    pub(super) const CMD_RESPONSE: u8 = 1;
    pub(super) const CMD_UNKNOWN: u8 = 2;
    pub(super) const EVENT_REGISTER: u8 = 3;
    pub(super) const EVENT_UNREGISTER: u8 = 4;
    pub(super) const EVENT_CONFIRM: u8 = 5;
    pub(super) const EVENT_UNKNOWN: u8 = 6;
    pub(super) const EVENT: u8 = 7;
}

/// One packet, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Client: run a command.
    Request {
        /// Which.
        command: String,
        /// Its arguments.
        arguments: Message,
    },
    /// Daemon: the outcome of the command.
    Response(Message),
    /// Daemon: there is no such command.
    UnknownCommand,
    /// Client: send me this event from now on.
    Register(String),
    /// Client: no longer send me this event.
    Unregister(String),
    /// Daemon: (un)registered.
    Confirm,
    /// Daemon: there is no such event, or it was not registered.
    UnknownEvent,
    /// Daemon: something happened.
    Event {
        /// What.
        name: String,
        /// Its details.
        details: Message,
    },
}

impl Packet {
    /// Reads the packet that fills `octets`, as it stands behind the frame's length.
    ///
    /// # Errors
    /// If it is malformed or beyond a bound.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let (&kind, rest) = octets.split_first().ok_or(DecodeError::Truncated)?;
        match kind {
            kind::CMD_REQUEST => {
                let (command, rest) = name(rest)?;
                Ok(Self::Request { command, arguments: Message::decode(rest)? })
            }
            kind::CMD_RESPONSE => Ok(Self::Response(Message::decode(rest)?)),
            kind::CMD_UNKNOWN => empty(rest, Self::UnknownCommand),
            kind::EVENT_REGISTER => name(rest).and_then(|(name, rest)| empty(rest, Self::Register(name))),
            kind::EVENT_UNREGISTER => name(rest).and_then(|(name, rest)| empty(rest, Self::Unregister(name))),
            kind::EVENT_CONFIRM => empty(rest, Self::Confirm),
            kind::EVENT_UNKNOWN => empty(rest, Self::UnknownEvent),
            kind::EVENT => {
                let (name, rest) = name(rest)?;
                Ok(Self::Event { name, details: Message::decode(rest)? })
            }
            other => Err(DecodeError::UnknownType(other)),
        }
    }

    /// Writes the packet, without the frame's length.
    ///
    /// # Errors
    /// If it is beyond a bound.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        match self {
            Self::Request { command, arguments } => {
                out.push(kind::CMD_REQUEST);
                encode_name(command, &mut out)?;
                arguments.encode(&mut out)?;
            }
            Self::Response(message) => {
                out.push(kind::CMD_RESPONSE);
                message.encode(&mut out)?;
            }
            Self::UnknownCommand => out.push(kind::CMD_UNKNOWN),
            Self::Register(name) => {
                out.push(kind::EVENT_REGISTER);
                encode_name(name, &mut out)?;
            }
            Self::Unregister(name) => {
                out.push(kind::EVENT_UNREGISTER);
                encode_name(name, &mut out)?;
            }
            Self::Confirm => out.push(kind::EVENT_CONFIRM),
            Self::UnknownEvent => out.push(kind::EVENT_UNKNOWN),
            Self::Event { name, details } => {
                out.push(kind::EVENT);
                encode_name(name, &mut out)?;
                details.encode(&mut out)?;
            }
        }
        if out.len() > MAX_FRAME { Err(EncodeError::TooLong) } else { Ok(out) }
    }
}

fn name(octets: &[u8]) -> Result<(String, &[u8]), DecodeError> {
    let (&length, rest) = octets.split_first().ok_or(DecodeError::Truncated)?;
    let (name, rest) = rest.split_at_checked(length.into()).ok_or(DecodeError::Truncated)?;
    Ok((std::str::from_utf8(name).map_err(|_| DecodeError::Name)?.to_owned(), rest))
}

fn empty(rest: &[u8], packet: Packet) -> Result<Packet, DecodeError> {
    match rest {
        [] => Ok(packet),
        [kind, ..] => Err(DecodeError::Misplaced(*kind)),
    }
}
