//! The client's side of the control socket, for our own command line and for tests.

use std::io;
use std::path::Path;

use tokio::net::UnixStream;

use super::vici::{Message, Packet, read_frame, write_frame};

/// A connection to a daemon that speaks vici.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The socket failed.
    #[error("the control socket failed: {0}")]
    Io(#[from] io::Error),
    /// The daemon does not know the command.
    #[error("the daemon does not know the command `{0}`")]
    UnknownCommand(String),
    /// The daemon does not know the event.
    #[error("the daemon does not know the event `{0}`")]
    UnknownEvent(String),
    /// The daemon did not do it; its reason.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// If nobody listens there, or we may not connect.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(path).await? })
    }

    /// Registers for `event`.
    ///
    /// # Errors
    /// If the socket fails or there is no such event.
    pub async fn register(&mut self, event: &str) -> Result<(), CallError> {
        self.send(&Packet::Register(event.to_owned())).await?;
        loop {
            match self.receive().await? {
                Packet::Confirm => return Ok(()),
                Packet::UnknownEvent => return Err(CallError::UnknownEvent(event.to_owned())),
                Packet::Event { .. } => {}
                _ => return Err(unexpected()),
            }
        }
    }

    /// Runs `command` and gives its answer. Events of the meantime go to `on_event`.
    ///
    /// # Errors
    /// If the socket fails, there is no such command, or the answer is `success=no`.
    pub async fn call(
        &mut self,
        command: &str,
        arguments: Message,
        mut on_event: impl FnMut(&str, Message),
    ) -> Result<Message, CallError> {
        self.send(&Packet::Request { command: command.to_owned(), arguments }).await?;
        loop {
            match self.receive().await? {
                Packet::Response(answer) if answer.text("success") == Some("no") => {
                    let reason = answer.text("report").or(answer.text("errmsg"));
                    return Err(CallError::Refused(reason.unwrap_or("no reason given").to_owned()));
                }
                Packet::Response(answer) => return Ok(answer),
                Packet::UnknownCommand => return Err(CallError::UnknownCommand(command.to_owned())),
                Packet::Event { name, details } => on_event(&name, details),
                _ => return Err(unexpected()),
            }
        }
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn event(&mut self) -> Result<(String, Message), CallError> {
        match self.receive().await? {
            Packet::Event { name, details } => Ok((name, details)),
            _ => Err(unexpected()),
        }
    }

    async fn send(&mut self, packet: &Packet) -> io::Result<()> {
        let octets = packet.encode().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        write_frame(&mut self.stream, &octets).await
    }

    async fn receive(&mut self) -> io::Result<Packet> {
        let frame = read_frame(&mut self.stream).await?;
        let frame = frame.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed it"))?;
        Packet::decode(&frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

fn unexpected() -> CallError {
    io::Error::new(io::ErrorKind::InvalidData, "an answer to nothing we asked").into()
}
