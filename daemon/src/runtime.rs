//! Start-up and stop of a gateway, as a list.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cygnet_ike::Endpoint;
use cygnet_spd::Policies;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::driver::{Driver, KeySink, Wanted, now};
use crate::handle::{Handle, Notice};
use crate::keylog::KeyLog;
use crate::net::{Host, HostError, Listen, Net, Sockets};
use crate::tun::{Tun, TunDevice};
use crate::workers::{DataPath, Threads, WorkerFailure};

/// IKE messages that may wait for the driver.
const IKE_QUEUE: usize = 1024;

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
    #[diagnostic(help("it needs CAP_NET_ADMIN; `gateway.route_table` must not be in use by others"))]
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
    /// Connections.
    pub ike: cygnet_ike::Config,
    /// Policies.
    pub policies: Policies,
    /// The outer network.
    pub net: Arc<dyn Net>,
    /// The inner network.
    pub tun: Arc<dyn Tun>,
    /// Largest inner packet, octets.
    pub mtu: usize,
    /// Threads in each direction.
    pub workers: usize,
    /// Idle time after which the mapping of a NAT before us is refreshed; `None` leaves it to others.
    pub nat_keepalive: Option<Duration>,
    /// Where session keys go: only with [`cygnet_ike::Config::report_keys`].
    pub keys: Option<KeySink>,
}

/// A running gateway. [`shutdown`](Gateway::shutdown) stops it cleanly; dropping it stops it without a word to the
/// peers, and leaves the routing rules to the next start.
#[derive(Debug)]
pub struct Gateway {
    handle: Handle,
    driver: JoinHandle<()>,
    threads: Threads,
    failures: mpsc::UnboundedReceiver<WorkerFailure>,
    /// Whether the driver returned, and did not panic.
    ended_well: Arc<AtomicBool>,
    host: Option<Host>,
}

impl Gateway {
    /// Opens everything that `config` names on this host, and runs. Inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]. What was opened is closed again.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config { gateway, ike, policies, .. } = config;
        let keys = gateway.key_log.as_deref().map(key_sink).transpose()?;
        let tun = TunDevice::create(&gateway.tun, gateway.mtu)
            .map_err(|error| StartError::Tun { name: gateway.tun.clone(), error })?;
        let listen = Listen {
            addresses: gateway.listen.clone(),
            ike_port: gateway.ike_port,
            nat_port: gateway.nat_port,
            raw_esp: gateway.raw_esp,
            fwmark: gateway.fwmark,
        };
        let net: Arc<dyn Net> = Arc::new(Sockets::bind(&listen).map_err(StartError::Sockets)?);
        let host = Host::set_up(&gateway, &policies, &net).await.map_err(StartError::Host)?;
        let parts = Parts {
            ike,
            policies,
            net,
            tun: Arc::new(tun),
            mtu: gateway.mtu.into(),
            workers: gateway.workers,
            nat_keepalive: gateway.nat_keepalive,
            keys,
        };
        match Self::assemble(parts) {
            Ok(gateway) => Ok(Self { host: Some(host), ..gateway }),
            Err(error) => {
                host.remove().await;
                Err(error)
            }
        }
    }

    /// Runs a gateway on networks that the caller made. Inside a tokio runtime; sets no routes.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn assemble(parts: Parts) -> Result<Self, StartError> {
        let Parts { ike, policies, net, tun, mtu, workers, nat_keepalive, keys } = parts;
        let path = DataPath::new(net, tun, policies, mtu);
        let (datagrams, inbox) = mpsc::channel(IKE_QUEUE);
        let (failed, failures) = mpsc::unbounded_channel();
        let threads = Threads::spawn(&path, workers, &datagrams, &failed).map_err(StartError::Threads)?;
        let wanted = Wanted::all(&ike);
        let endpoint = Endpoint::new(ike, Box::new(rand::make_rng::<StdRng>()), now());
        let (handle, mut requests) = Handle::new();
        let driver = Driver::new(endpoint, path, handle.clone(), wanted, nat_keepalive, keys);
        let ended_well = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ended_well);
        let driver = tokio::spawn(async move {
            driver.run(&mut requests, inbox).await;
            // Before `requests` goes, which is how others learn of the end.
            ending.store(true, Ordering::Release);
        });
        Ok(Self { handle, driver, threads, failures, ended_well, host: None })
    }

    /// To talk to it, from any task and for any time.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
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
        let Self { handle, driver, threads, host, ended_well, failures: _ } = self;
        handle.shutdown().await;
        driver.abort();
        if !ended_well.load(Ordering::Acquire) {
            // It could not say so itself, and subscribers wait for it.
            handle.notify(Notice::Stopping);
        }
        if let Some(host) = host {
            host.remove().await;
        }
        // Joins threads, which finish their batch within milliseconds.
        let _ = tokio::task::spawn_blocking(move || threads.stop()).await;
        let _ = driver.await;
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
