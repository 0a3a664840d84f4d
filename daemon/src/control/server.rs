//! The listening socket and its connections.
//!
//! A connection is one task with three sides that end together: reading and running requests, writing, forwarding
//! events. All it sends goes through one bounded queue. Its own answers wait for room there; events of others do not:
//! a subscriber that does not keep up is disconnected, and never holds up the gateway or another client.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tracing::{debug, warn};

use super::commands;
use super::events::{self, Published};
use super::vici::{Message, Packet, read_frame, write_frame};
use crate::handle::Handle;

/// Connections at a time.
const MAX_CLIENTS: usize = 64;

/// Packets that wait for a client to read them.
const QUEUE: usize = 256;

/// How long one packet may wait for a client that reads nothing.
const STALL: Duration = Duration::from_secs(30);

/// Listens at `path` with permission bits `mode`. The directory is made if it is not there; a socket that nobody
/// listens on any more is replaced.
///
/// # Errors
/// If another daemon listens there, if something else than a socket is there, or if the file system refuses.
pub fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(about) if !about.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket is there"));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there")),
            Err(_) => std::fs::remove_file(path)?,
        },
    }
    let listener = bind_closed(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Binds so that nobody else can connect before the permissions are set.
fn bind_closed(path: &Path) -> io::Result<UnixListener> {
    let previous = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    nix::sys::stat::umask(previous);
    listener
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) handle: Handle,
    pub(super) events: broadcast::Sender<Arc<Published>>,
}

/// Serves clients of `listener` until the gateway stops or the future is dropped.
pub async fn serve(listener: UnixListener, handle: Handle) {
    let (sender, _) = broadcast::channel(QUEUE);
    let mut publisher = tokio::spawn(events::publish(handle.clone(), sender.clone()));
    let shared = Arc::new(Shared { handle, events: sender });
    let room = Arc::new(Semaphore::new(MAX_CLIENTS));
    let mut clients = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut publisher => break,
            Some(_) = clients.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match room.clone().try_acquire_owned() {
                    Ok(seat) => {
                        let shared = shared.clone();
                        clients.spawn(async move {
                            client(stream, shared).await;
                            drop(seat);
                        });
                    }
                    Err(_) => warn!("more than {MAX_CLIENTS} clients on the control socket: one turned away"),
                },
                Err(error) => {
                    // Out of file descriptors, most likely: others close some.
                    warn!(%error, "the control socket can't accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    // The gateway has stopped; let waiting commands say so to their clients.
    let _ = tokio::time::timeout(Duration::from_secs(1), async { while clients.join_next().await.is_some() {} }).await;
}

async fn client(stream: UnixStream, shared: Arc<Shared>) {
    let (read, write) = stream.into_split();
    let (queue, outgoing) = mpsc::channel(QUEUE);
    let session = Session { shared, queue, subscriptions: Mutex::default() };
    // Reading ends when the client closes; what is queued then has no reader.
    tokio::select! {
        ended = session.requests(read) => if let Err(error) = ended { debug!(%error, "control client dropped") },
        ended = write_queue(write, outgoing) => if let Err(error) = ended { debug!(%error, "control client dropped") },
        cause = session.forward() => warn!("control client dropped: {cause}"),
    }
}

async fn write_queue(mut write: OwnedWriteHalf, mut outgoing: mpsc::Receiver<Arc<[u8]>>) -> io::Result<()> {
    while let Some(packet) = outgoing.recv().await {
        tokio::time::timeout(STALL, write_frame(&mut write, &packet)).await??;
    }
    Ok(())
}

/// One connection.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    queue: mpsc::Sender<Arc<[u8]>>,
    subscriptions: Mutex<BTreeSet<&'static str>>,
}

impl Session {
    /// Reads and runs one request after the other.
    async fn requests(&self, mut read: OwnedReadHalf) -> io::Result<()> {
        while let Some(frame) = read_frame(&mut read).await? {
            let packet = Packet::decode(&frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let answer = match packet {
                Packet::Request { command, arguments } => match commands::run(self, &command, &arguments).await {
                    Some(response) => Packet::Response(response),
                    None => Packet::UnknownCommand,
                },
                Packet::Register(name) => match events::known(&name) {
                    Some(name) => {
                        self.subscriptions().insert(name);
                        Packet::Confirm
                    }
                    None => Packet::UnknownEvent,
                },
                Packet::Unregister(name) => match events::known(&name) {
                    Some(name) if self.subscriptions().remove(name) => Packet::Confirm,
                    _ => Packet::UnknownEvent,
                },
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet that only a daemon sends")),
            };
            self.send(&answer).await?;
        }
        Ok(())
    }

    /// Forwards events that the client registered, until it does not keep up.
    async fn forward(&self) -> &'static str {
        const SLOW: &str = "it does not read its events";
        let mut events = self.shared.events.subscribe();
        loop {
            match events.recv().await {
                Ok(event) if self.subscribed(event.name) => {
                    if self.queue.try_send(event.packet.clone()).is_err() {
                        return SLOW;
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    if self.subscriptions().iter().any(|name| events::PUBLISHED.contains(name)) {
                        return SLOW;
                    }
                }
                // The gateway has stopped: a waiting command still has its answer to give.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Whether the client registered for `event`.
    pub(super) fn subscribed(&self, event: &str) -> bool {
        self.subscriptions().contains(event)
    }

    fn subscriptions(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.subscriptions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sends an event to this client alone, if it registered for it: the stream of a command's results.
    pub(super) async fn stream(&self, event: &'static str, details: Message) {
        if self.subscribed(event) {
            // A closed queue is noticed where the connection is read.
            let _ = self.send(&Packet::Event { name: event.to_owned(), details }).await;
        }
    }

    async fn send(&self, packet: &Packet) -> io::Result<()> {
        let encoded = packet.encode().or_else(|error| {
            warn!(%error, "an answer on the control socket was too large");
            Packet::Response(commands::outcome(Err(format!("the answer can't be sent: {error}")))).encode()
        });
        let encoded = encoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.queue.send(encoded.into()).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
