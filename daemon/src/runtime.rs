//! Start-up and stop of a gateway, as a list.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cygnet_ike::Endpoint;
use cygnet_spd::{Action, Direction, Flow, Policies, PolicyId, Ports};
use rand::rngs::StdRng;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::{Config, IcmpError, Mtu, PolicyNames};
use crate::driver::{Driver, KeySink, Wanted, now};
use crate::handle::{Handle, Inbox, Notice};
use crate::install;
use crate::keylog::KeyLog;
use crate::net::filter::{Refusal, Watch};
use crate::net::{Host, HostError, Listen, Net, Sockets, path_mtu};
use crate::offload::Offloads;
use crate::reload::{Keeper, Reload};
use crate::tun::{Tun, TunDevice};
use crate::workers::audit::Reason;
use crate::workers::{AuditEvent, Clear, DataPath, Outbound, Threads, WorkerFailure};

/// IKE messages that may wait for the driver.
const IKE_QUEUE: usize = 1024;
/// How long the driver may take to return once it has nothing left to do.
const LAST_STEP: Duration = Duration::from_secs(1);

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StartError {
    /// No TUN device.
    #[error("the TUN device {name} can't be created: {error}")]
    #[diagnostic(help(
        "it needs CAP_NET_ADMIN and /dev/net/tun; if the name is taken by another gateway, set `gateway.tun`"
    ))]
    Tun {
        /// Its name.
        name: String,
        /// As the system says.
        error: io::Error,
    },
    /// No sockets.
    #[error("the outer network can't be opened: {0}")]
    #[diagnostic(help(
        "another IKE daemon may hold the port; ports below 1024 need CAP_NET_BIND_SERVICE, raw ESP CAP_NET_RAW, \
         the mark CAP_NET_ADMIN"
    ))]
    Sockets(io::Error),
    /// No routes.
    #[error("the host can't be set up for the protected networks: {0}")]
    #[diagnostic(help(
        "routes need CAP_NET_ADMIN, and `gateway.route_table` must not be in use by others; the filter of what arrives \
         in the clear needs the program `nft` (package nftables): without it, set `gateway.clear_filter = \"off\"`"
    ))]
    Host(HostError),
    /// No key log.
    #[error("the key log in {} can't be written: {error}", directory.display())]
    #[diagnostic(help("make the directory, for its owner alone, or leave `gateway.key_log` out"))]
    KeyLog {
        /// Where.
        directory: PathBuf,
        /// As the system says.
        error: io::Error,
    },
    /// A manual SA that can't be installed.
    #[error("the manual SA {name} can't be installed: {error}")]
    #[diagnostic(help("give it an inbound SPI of its own"))]
    Manual {
        /// Its name.
        name: String,
        /// Why.
        error: install::Refused,
    },
    /// No threads.
    #[error("the threads of the data path can't be started: {0}")]
    Threads(io::Error),
}

/// Why a running gateway can't go on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RunError {
    /// A thread of the data path ended.
    #[error("the data path broke: thread {} ended: {}", .0.worker, .0.error)]
    #[diagnostic(help(
        "leave the TUN device and the outer addresses in place while the gateway runs; then start it again"
    ))]
    Worker(WorkerFailure),
    /// The task that owns the IKE endpoint ended.
    #[error("the IKE task ended unexpectedly: this is a bug")]
    #[diagnostic(help("start the gateway again, and report what the log said last"))]
    Driver,
}

/// What a gateway is made of, for an embedding that brings its own networks.
pub struct Parts {
    /// Connections and policies.
    pub config: Config,
    /// The outer network.
    pub net: Arc<dyn Net>,
    /// The inner network.
    pub tun: Arc<dyn Tun>,
    /// Where session keys go: only with [`cygnet_ike::Config::report_keys`].
    pub keys: Option<KeySink>,
}

/// A running gateway. [`shutdown`](Gateway::shutdown) stops it cleanly; dropping it stops it without a word to the
/// peers, and leaves the routing rules to the next start.
#[derive(Debug)]
pub struct Gateway {
    handle: Handle,
    /// What happened since the start, until somebody takes it.
    events: Option<broadcast::Receiver<Arc<Notice>>>,
    driver: JoinHandle<()>,
    threads: Threads,
    failures: mpsc::UnboundedReceiver<WorkerFailure>,
    /// Whether the driver returned, and did not panic.
    ended_well: Arc<AtomicBool>,
    keeper: JoinHandle<Option<Host>>,
    stop_keeper: oneshot::Sender<()>,
}

impl Gateway {
    /// Opens everything that `config` names on this host, and runs. Inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]. What was opened is closed again; what a gateway that was killed left shut stays shut.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let gateway = &config.gateway;
        let keys = gateway.key_log.as_deref().map(key_sink).transpose()?;
        let tun_failed = |error| StartError::Tun { name: gateway.tun.clone(), error };
        let mtu = match gateway.mtu {
            Mtu::Fixed(octets) => octets,
            Mtu::Auto => path_mtu::tun_mtu(&gateway.listen, config.ciphers()).await.map_err(tun_failed)?,
        };
        let offloads = Offloads::among(&gateway.offloads);
        let tun = TunDevice::create(&gateway.tun, mtu, gateway.workers, offloads).await.map_err(tun_failed)?;
        let listen = Listen {
            addresses: gateway.listen.clone(),
            ike_port: gateway.ike_port,
            nat_port: gateway.nat_port,
            raw_esp: gateway.raw_esp,
            fwmark: gateway.fwmark,
            offloads: gateway.offloads.clone(),
            queues: gateway.workers,
            learn_path_mtu: gateway.unprotected_icmp.contains(&IcmpError::PacketTooBig),
        };
        let net: Arc<dyn Net> = Arc::new(Sockets::bind(&listen).map_err(StartError::Sockets)?);
        let mut host = Host::set_up(gateway, &config.policies, &net).await.map_err(StartError::Host)?;
        let parts = Parts { config, net, tun: Arc::new(tun), keys };
        match Self::run(parts, mtu, host.watch()) {
            Ok(running) => {
                if let Some(refusals) = host.refusals() {
                    tokio::spawn(audit_refusals(refusals, running.handle.path.clone()));
                }
                Ok(running.keep(Some(host)))
            }
            Err(error) => {
                host.give_up().await;
                Err(error)
            }
        }
    }

    /// Runs a gateway on networks that the caller made. Inside a tokio runtime; sets no routes.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn assemble(parts: Parts) -> Result<Self, StartError> {
        let mtu = parts.config.gateway.mtu.octets();
        Ok(Self::run(parts, mtu, None)?.keep(None))
    }

    fn run(parts: Parts, mtu: u16, watch: Option<Watch>) -> Result<Running, StartError> {
        let Parts { mut config, net, tun, keys } = parts;
        let mut names = PolicyNames::new();
        names.adopt(&mut config);
        let path = DataPath::new(net, tun, config.policies.clone(), mtu.into());
        path.tell_prohibited(config.gateway.icmp_prohibited);
        for (n, sa) in (0..).zip(&config.manual) {
            install::manual(&path.sad, Instant::now(), n, sa)
                .map_err(|error| StartError::Manual { name: sa.name.clone(), error })?;
        }
        let (datagrams, inbox) = mpsc::channel(IKE_QUEUE);
        let (failed, failures) = mpsc::unbounded_channel();
        let threads =
            Threads::spawn(&path, config.gateway.pin_workers, &datagrams, &failed).map_err(StartError::Threads)?;
        // Those that receive (RFC 9611); a reload leaves their number as it is.
        let workers = u32::try_from(path.net.queues()).unwrap_or(1);
        let ike = cygnet_ike::Config { workers, ..config.ike.clone() };
        let endpoint = Endpoint::new(ike, Box::new(rand::make_rng::<StdRng>()), now());
        let nat_keepalive = config.gateway.nat_keepalive;
        let wanted = Wanted::all(&config.ike);
        let (handle, Inbox { mut requests, reloads }) = Handle::new(config, Arc::downgrade(&path), watch);
        let driver = Driver::new(endpoint, path, handle.clone(), wanted, nat_keepalive, keys);
        // Before anything can happen.
        let events = Some(handle.events());
        let ended_well = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ended_well);
        let driver = tokio::spawn(async move {
            driver.run(&mut requests, inbox).await;
            // Before `requests` goes, which is how others learn of the end.
            ending.store(true, Ordering::Release);
        });
        Ok(Running { handle, events, driver, threads, failures, ended_well, names, reloads })
    }

    /// To talk to it, from any task and for any time.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Everything that happens, in order: from the start on for the first who asks, from now on for others.
    pub fn events(&mut self) -> broadcast::Receiver<Arc<Notice>> {
        self.events.take().unwrap_or_else(|| self.handle.events())
    }

    /// Resolves when somebody stopped it through a [`Handle`], or when it can't go on; [`shutdown`](Self::shutdown)
    /// then does the rest in both cases.
    ///
    /// # Errors
    /// When it can't go on.
    pub async fn stopped(&mut self) -> Result<(), RunError> {
        tokio::select! {
            // A worker's own word on it comes before what follows from it.
            biased;
            Some(failure) = self.failures.recv() => Err(RunError::Worker(failure)),
            () = self.handle.stopped() => match self.ended_well.load(Ordering::Acquire) {
                true => Ok(()),
                false => Err(RunError::Driver),
            },
        }
    }

    /// Deletes the SAs at the peers, waiting a bounded time for their answers, then removes routes, rule and TUN.
    pub async fn shutdown(self) {
        self.end(true).await;
    }

    /// As [`shutdown`](Self::shutdown), but what must be protected stays shut, as after a kill: for a gateway that broke.
    /// The next start takes over what is left, or [`cleanup`](crate::net::cleanup) removes it.
    pub async fn abandon(self) {
        self.end(false).await;
    }

    async fn end(self, opens: bool) {
        let Self { handle, mut driver, threads, ended_well, keeper, stop_keeper, failures: _, events: _ } = self;
        handle.shutdown().await;
        // It has answered, or is gone: either way there is nothing left for it to do but to return.
        if timeout(LAST_STEP, &mut driver).await.is_err() {
            driver.abort();
        }
        if !ended_well.load(Ordering::Acquire) {
            // It could not say so itself, and subscribers wait for it.
            handle.notify(Notice::Stopping);
        }
        // A reload under way comes to its end first: it finds the driver gone.
        let _ = stop_keeper.send(());
        if let Ok(Some(host)) = keeper.await
            && opens
        {
            host.remove().await;
        }
        // Joins threads, which finish their batch within milliseconds.
        let _ = tokio::task::spawn_blocking(move || threads.stop()).await;
    }
}

/// A gateway whose configuration nobody keeps yet.
struct Running {
    handle: Handle,
    events: Option<broadcast::Receiver<Arc<Notice>>>,
    driver: JoinHandle<()>,
    threads: Threads,
    failures: mpsc::UnboundedReceiver<WorkerFailure>,
    ended_well: Arc<AtomicBool>,
    names: PolicyNames,
    reloads: mpsc::Receiver<Reload>,
}

impl Running {
    fn keep(self, host: Option<Host>) -> Gateway {
        let Self { handle, events, driver, threads, failures, ended_well, names, reloads } = self;
        let (stop_keeper, stop) = oneshot::channel();
        let keeper = tokio::spawn(Keeper::new(handle.clone(), names, host).run(reloads, stop));
        Gateway { handle, events, driver, threads, failures, ended_well, keeper, stop_keeper }
    }
}

/// Tells of packets that the filter dropped, each with the policy that wanted it (RFC 4301 §5.1, §5.2 step 3b).
async fn audit_refusals(mut refusals: mpsc::Receiver<Refusal>, path: Weak<DataPath>) {
    while let Some(refusal) = refusals.recv().await {
        let Some(path) = path.upgrade() else { return };
        let (reason, policy) = match refusal.direction {
            Direction::Outbound => (Reason::Outbound(Outbound::Discarded), None),
            Direction::Inbound => {
                let (reason, policy) = why(&refusal, &path.policies.load());
                (Reason::Clear(reason), policy)
            }
        };
        let event = AuditEvent { flow: refusal.flow, policy, ..AuditEvent::new(reason) };
        path.audit.report(Instant::now(), event);
    }
}

/// Why the filter dropped it, and the policy that wanted it: that of the packet itself, or of the one it is about.
fn why(refusal: &Refusal, policies: &Policies) -> (Clear, Option<PolicyId>) {
    let Refusal { direction: _, flow, about } = refusal;
    let of = |flow: &Option<Flow>| flow.as_ref().and_then(|flow| policies.find(flow)).map(|policy| policy.action);
    match (of(flow), of(about)) {
        (Some(Action::Protect(policy)), _) => (Clear::Unprotected, Some(policy)),
        (Some(Action::Discard), _) => (Clear::Discarded, None),
        (_, Some(Action::Protect(policy))) => (Clear::IcmpError, Some(policy)),
        // No policy drops it for its own sake. One that is not for the sender of what it encloses is made up.
        _ if flow.is_some_and(|flow| matches!(flow.ports, Ports::Icmp { .. })) => (Clear::IcmpError, None),
        _ => (Clear::Discarded, None),
    }
}

fn key_sink(directory: &std::path::Path) -> Result<KeySink, StartError> {
    let failed = |error| StartError::KeyLog { directory: directory.to_owned(), error };
    let mut log = KeyLog::open(directory).map_err(failed)?;
    Ok(Box::new(move |keys| {
        if let Err(error) = log.write(keys) {
            tracing::warn!("session keys not logged: {error}");
        }
    }))
}

#[cfg(test)]
mod tests {
    use cygnet_spd::{Policy, Selector, Terms};

    use super::*;

    /// The filter tells a packet, not a reason.
    #[test]
    fn a_refusal_is_told_with_the_policy_that_wanted_it() {
        let policy = |remote: &str, action| {
            let [local, remote] = ["10.1.0.0/16", remote].map(|text| vec![text.parse().expect("a selector")]);
            Policy { name: String::new(), selector: Selector { local, remote }, action, terms: Terms::default() }
        };
        let protect = Action::Protect(PolicyId(7));
        let policies = Policies::new(vec![policy("10.2.0.0/16", protect), policy("10.3.0.0/16", Action::Discard)]);
        let flow = |direction, remote: [u8; 4], protocol, ports| {
            Some(Flow { direction, local: [10, 1, 0, 1].into(), remote: remote.into(), protocol, ports })
        };
        let udp = Ports::Pair { local: 1, remote: 2 };
        let clear = |remote| flow(Direction::Inbound, remote, 17, udp);
        let error = || flow(Direction::Inbound, [192, 0, 2, 9], 1, Ports::Icmp { kind: 3, code: 4 });
        let about = |remote| flow(Direction::Outbound, remote, 17, udp);
        let why = |flow, about| why(&Refusal { direction: Direction::Inbound, flow, about }, &policies);
        assert_eq!(why(clear([10, 2, 0, 1]), None), (Clear::Unprotected, Some(PolicyId(7))));
        assert_eq!(why(clear([10, 3, 0, 1]), None), (Clear::Discarded, None));
        assert_eq!(why(error(), about([10, 2, 0, 1])), (Clear::IcmpError, Some(PolicyId(7))));
        // About our own ESP, about what is discarded, and one that is made up.
        for about in [about([198, 51, 100, 2]), about([10, 3, 0, 1]), None] {
            assert_eq!(why(error(), about), (Clear::IcmpError, None));
        }
        assert_eq!(why(None, None), (Clear::Discarded, None));
    }
}
