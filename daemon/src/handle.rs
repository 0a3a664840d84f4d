//! The handle of a running gateway: how the control socket, the command line, the demonstration and embedding
//! programs talk to the one task that owns the IKE endpoint.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use cygnet_ike::status::IkeStatus;
use cygnet_ike::{ChildId, Command, DownReason, Failure, IkeSaId};
use cygnet_spd::Policies;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::config::Config;
use crate::narrate;
use crate::net::filter::Watch;
use crate::offload::Offload;
use crate::reload::{Reload, ReloadError};
use crate::workers::{AuditEvent, DataPath};

/// The gateway has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gateway has stopped")]
pub struct Stopped;

/// Talks to a running gateway. Cheap to clone; outliving the gateway is harmless.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    reloads: mpsc::Sender<Reload>,
    notices: broadcast::Sender<Arc<Notice>>,
    config: Arc<ArcSwap<Config>>,
    /// Not owned: when the gateway stops, its sockets and its device are closed, whoever holds a handle.
    pub(crate) path: Weak<DataPath>,
    /// Of the filter, if there is one.
    pub(crate) watch: Option<Watch>,
    failures: Arc<Mutex<Failures>>,
}

/// The last failure of each child, or of a connection as a whole. Only of what is configured: strangers must not make
/// it grow.
pub(crate) type Failures = HashMap<(String, Option<String>), Failed>;

/// Where the requests of a [`Handle`] arrive.
pub(crate) struct Inbox {
    /// For the driver.
    pub(crate) requests: mpsc::Receiver<Request>,
    /// For the keeper of the configuration.
    pub(crate) reloads: mpsc::Receiver<Reload>,
}

/// What the driver is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Command(Command),
    Status(oneshot::Sender<Status>),
    TakeOver(Box<Terms>, oneshot::Sender<()>),
    Shutdown(oneshot::Sender<()>),
}

/// What the driver works by.
#[derive(Debug)]
pub(crate) struct Terms {
    /// For the IKE endpoint.
    pub(crate) ike: cygnet_ike::Config,
    /// For the data path.
    pub(crate) policies: Policies,
    /// Idle time after which the mapping of a NAT before us is refreshed.
    pub(crate) nat_keepalive: Option<Duration>,
    /// Whether senders learn what policy forbids.
    pub(crate) icmp_prohibited: bool,
}

/// Notices a slow subscriber may lag behind before it misses some.
const NOTICES: usize = 1024;

impl Handle {
    /// A handle of a gateway that runs by `config` with the data path `path` and the filter that `watch` reads, and the other end of
    /// it.
    pub(crate) fn new(config: Config, path: Weak<DataPath>, watch: Option<Watch>) -> (Self, Inbox) {
        let (requests, driver) = mpsc::channel(64);
        let (reloads, keeper) = mpsc::channel(4);
        let (notices, _) = broadcast::channel(NOTICES);
        let config = Arc::new(ArcSwap::from_pointee(config));
        let failures = Arc::default();
        (
            Self { requests, reloads, notices, config, path, watch, failures },
            Inbox { requests: driver, reloads: keeper },
        )
    }

    /// The configuration of this moment.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    pub(crate) fn store_config(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// Takes over `config`, by difference: SAs of what stays live on, and no packet is lost. Returns when the kernel
    /// has its routes, too.
    ///
    /// # Errors
    /// See [`ReloadError`]. Everything is as before then, if it doesn't say otherwise.
    pub async fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let (reply, outcome) = oneshot::channel();
        let reload = Reload { config: Box::new(config), reply };
        self.reloads.send(reload).await.map_err(|_| Stopped)?;
        outcome.await.map_err(|_| Stopped)?
    }

    /// Reads the configuration file again and takes it over, as [`reload`](Self::reload). Returns the new warnings.
    ///
    /// # Errors
    /// A report of every mistake in the file, or why the gateway can't take it over.
    pub async fn reload_file(&self) -> Result<Vec<String>, miette::Report> {
        let Some(file) = self.config().file.clone() else {
            return Err(miette::miette!("this gateway was not started from a configuration file"));
        };
        let load = move || crate::config::load(Path::new(&file));
        let loaded = tokio::task::spawn_blocking(load).await;
        let config = loaded.map_err(|error| miette::miette!("reading the configuration failed: {error}"))??;
        let warnings = config.warnings.clone();
        self.reload(config).await.map_err(|error| miette::miette!("{error}"))?;
        Ok(warnings)
    }

    /// Has the driver work by `terms` from now on.
    pub(crate) async fn take_over(&self, terms: Terms) -> Result<(), Stopped> {
        let (reply, done) = oneshot::channel();
        self.requests.send(Request::TakeOver(Box::new(terms), reply)).await.map_err(|_| Stopped)?;
        done.await.map_err(|_| Stopped)
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

    /// Why the last negotiation of a connection, or of one of its children, failed, if none has succeeded since.
    pub fn last_failure(&self, connection: &str) -> Option<Failed> {
        let failures = self.failures();
        let of = failures.iter().filter(|((name, _), _)| name == connection).map(|(_, failed)| failed);
        of.max_by_key(|failed| failed.at).cloned()
    }

    pub(crate) fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
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
        match &notice {
            Notice::Failed(failure) => {
                if let Some(connection) = &failure.connection {
                    let failed = Failed {
                        at: Instant::now(),
                        remote: failure.path.remote.ip(),
                        reason: narrate::reason(failure),
                    };
                    let key = (connection.clone(), failure.child.clone());
                    // What strangers try does not hide what we tried ourselves.
                    if failure.by_stranger {
                        self.failures().entry(key).or_insert(failed);
                    } else {
                        self.failures().insert(key, failed);
                    }
                }
            }
            Notice::ChildUp { child, ike } => {
                let name = ike.children.iter().find(|status| status.id == *child).map(|up| up.child.name.clone());
                if let Some(connection) = &ike.connection {
                    let mut failures = self.failures();
                    failures.remove(&(connection.name.clone(), name));
                    failures.remove(&(connection.name.clone(), None));
                }
            }
            Notice::Reloaded => self.failures().clear(),
            _ => {}
        }
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
    /// What is left to the kernel, many packets at a time.
    pub offloads: Vec<Offload>,
}

impl Status {
    /// What went through `child`.
    pub fn traffic(&self, child: ChildId) -> Traffic {
        self.traffic.get(&child).copied().unwrap_or_default()
    }
}

/// A negotiation that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// When.
    pub at: Instant,
    /// With whom; unspecified if that was not known.
    pub remote: IpAddr,
    /// Why, and what to do.
    pub reason: String,
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
    /// The peer dropped a packet of ours that its Child SA does not carry (INVALID_SELECTORS, RFC 4301 §5.2).
    InvalidSelectors {
        /// Which, one of `ike.children`.
        child: ChildId,
        /// The IKE SA above it.
        ike: Box<IkeStatus>,
        /// The start of the packet, as the peer gives it.
        packet: Vec<u8>,
    },
    /// The peer makes no more Child SAs with the selectors of this one (TS_MAX_QUEUE, RFC 9611 §6.2, or another error).
    NoMoreResources {
        /// The first of them, which may be gone.
        child: ChildId,
        /// The IKE SA above it.
        ike: Box<IkeStatus>,
        /// The notification that says so.
        notify: u16,
    },
    /// Another configuration took over.
    Reloaded,
    /// A packet was discarded (RFC 4301 §5.2, RFC 4303 §4).
    Audit {
        /// What is known of it.
        event: AuditEvent,
        /// Name of the policy that it met, or that its SA serves.
        policy: Option<String>,
    },
    /// The gateway is stopping; nothing follows.
    Stopping,
}
