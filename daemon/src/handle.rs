//! The handle of a running gateway: how the control socket, the command line, the demonstration and embedding
//! programs talk to the one task that owns the IKE endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cygnet_ike::status::IkeStatus;
use cygnet_ike::{ChildId, Command, DownReason, Failure, IkeSaId};
use tokio::sync::{broadcast, mpsc, oneshot};

/// The gateway has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gateway has stopped")]
pub struct Stopped;

/// Talks to a running gateway. Cheap to clone; outliving the gateway is harmless.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    notices: broadcast::Sender<Arc<Notice>>,
}

/// What the driver is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Command(Command),
    Status(oneshot::Sender<Status>),
    Shutdown(oneshot::Sender<()>),
}

/// Notices a slow subscriber may lag behind before it misses some.
const NOTICES: usize = 1024;

impl Handle {
    /// A handle, and the driver's end of it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(64);
        let (notices, _) = broadcast::channel(NOTICES);
        (Self { requests, notices }, receiver)
    }

    /// Hands `command` to the IKE endpoint. The outcome arrives as a [`Notice`]: subscribe first.
    ///
    /// # Errors
    /// [`Stopped`] if the gateway is gone.
    pub async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.requests.send(Request::Command(command)).await.map_err(|_| Stopped)
    }

    /// The SAs and counters of this moment.
    ///
    /// # Errors
    /// [`Stopped`] if the gateway is gone.
    pub async fn status(&self) -> Result<Status, Stopped> {
        let (reply, status) = oneshot::channel();
        self.requests.send(Request::Status(reply)).await.map_err(|_| Stopped)?;
        status.await.map_err(|_| Stopped)
    }

    /// Everything that happens from now on, in order.
    pub fn events(&self) -> broadcast::Receiver<Arc<Notice>> {
        self.notices.subscribe()
    }

    /// Stops the gateway: deletes the SAs at the peers, waits a bounded time for them to agree. Returns when the
    /// endpoint is gone; [`Gateway::shutdown`](crate::runtime::Gateway::shutdown) also waits for routes and TUN.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.requests.send(Request::Shutdown(reply)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Resolves when the gateway has stopped.
    pub async fn stopped(&self) {
        self.requests.closed().await;
    }

    /// Tells the subscribers, if there are any.
    pub(crate) fn notify(&self, notice: Notice) {
        let _ = self.notices.send(Arc::new(notice));
    }
}

/// The gateway at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// When the gateway started.
    pub started: SystemTime,
    /// IKE SAs with their children, as the endpoint knows them.
    pub ike_sas: Vec<IkeStatus>,
    /// What went through each pair of ESP SAs; an entry for every installed child.
    pub traffic: BTreeMap<ChildId, Traffic>,
    /// Fate of every packet the data path saw, by counter name: `outbound.sealed`, `inbound.replayed`, ...
    pub packets: Vec<(&'static str, u64)>,
    /// Name of the TUN device.
    pub tun: String,
}

impl Status {
    /// What went through `child`.
    pub fn traffic(&self, child: ChildId) -> Traffic {
        self.traffic.get(&child).copied().unwrap_or_default()
    }
}

/// Use of a pair of ESP SAs since its installation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Inner packets received and let through.
    pub packets_in: u64,
    /// Octets of inner packets received and let through.
    pub octets_in: u64,
    /// Time since the last packet received; `None` if there was none.
    pub idle_in: Option<Duration>,
    /// Inner packets sent.
    pub packets_out: u64,
    /// Octets of inner packets sent.
    pub octets_out: u64,
    /// Time since the last packet sent; `None` if there was none.
    pub idle_out: Option<Duration>,
    /// Time since the pair was installed.
    pub age: Duration,
}

/// Something that happened, without secrets, for any number of listeners.
///
/// An SA comes with its description at that moment, because when a listener asks it may be gone.
#[derive(Debug, Clone)]
pub enum Notice {
    /// An IKE SA is established.
    IkeUp(Box<IkeStatus>),
    /// An IKE SA was replaced (RFC 7296 §2.8); `new` carries the children.
    IkeRekeyed {
        /// The SA that is deleted.
        old: IkeSaId,
        /// Its successor.
        new: Box<IkeStatus>,
    },
    /// An IKE SA ended, or never came up.
    IkeDown {
        /// Which.
        ike: IkeSaId,
        /// Its connection, if it got so far as to have one.
        connection: Option<String>,
        /// Why.
        reason: DownReason,
        /// Its last known state, if it ever was up.
        last: Option<Box<IkeStatus>>,
    },
    /// A Child SA is up.
    ChildUp {
        /// Which, one of `ike.children`.
        child: ChildId,
        /// The IKE SA above it.
        ike: Box<IkeStatus>,
    },
    /// A Child SA was replaced.
    ChildRekeyed {
        /// The pair that is deleted.
        old: ChildId,
        /// Its successor, one of `ike.children`.
        new: ChildId,
        /// The IKE SA above both.
        ike: Box<IkeStatus>,
    },
    /// A Child SA ended.
    ChildDown {
        /// Which.
        child: ChildId,
        /// The IKE SA above it.
        ike: IkeSaId,
        /// Its connection.
        connection: String,
        /// The template's name.
        name: String,
        /// Why.
        reason: DownReason,
        /// The last known state of the IKE SA, this child included, if it ever was up.
        last: Option<Box<IkeStatus>>,
        /// What went through it.
        traffic: Traffic,
    },
    /// A negotiation failed.
    Failed(Failure),
    /// A request went unanswered and was sent again.
    Retransmitted {
        /// The IKE SA.
        ike: IkeSaId,
        /// How often by now.
        attempt: u32,
    },
    /// The gateway is stopping; nothing follows.
    Stopping,
}
