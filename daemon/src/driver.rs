//! The one task that owns the IKE endpoint: datagrams, commands, signals and time go in, outputs are carried out in
//! their order.

mod acquire;
mod mtu;
mod nat;
mod status;

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cygnet_esp::udp::NON_ESP_MARKER;
use cygnet_ike::status::IkeStatus;
use cygnet_ike::{ChildId, ChildInstall, Command, Endpoint, Event, IkeSaId, Now, Output, SessionKeys, Transmit};
use cygnet_sad::PairId;
use cygnet_spd::Action;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::handle::{Handle, Notice, Request, Terms, Traffic};
use crate::install::{self, child_id, pair_id};
use crate::net::{Channel, OuterPath, Outgoing};
use crate::workers::{AuditEvent, DataPath, Datagram, Releaser, Signal};

pub(crate) use self::acquire::Wanted;
use self::status::traffic;

/// How often liveness and NAT mappings are looked after.
const TICK: Duration = Duration::from_secs(1);
/// How long a stop waits for the peers to acknowledge the deletion of their SAs.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// Final traffic of removed children, kept until their notice is written.
const REMEMBERED: usize = 256;
/// Datagrams handled before anything else gets its turn.
const BURST: usize = 64;

/// Where session keys go, if anywhere.
pub type KeySink = Box<dyn FnMut(&SessionKeys) + Send>;

/// Owns the endpoint.
pub struct Driver {
    endpoint: Endpoint,
    path: Arc<DataPath>,
    handle: Handle,
    releaser: Releaser,
    /// What IKE calls the SAs of each policy.
    wanted: Vec<Wanted>,
    /// Idle time after which a NAT mapping is refreshed (RFC 3948 §4).
    nat_keepalive: Option<Duration>,
    keys: Option<KeySink>,
    started: SystemTime,
    /// Installed children.
    children: HashMap<ChildId, Installed>,
    /// Outer addresses of installed pairs.
    watched: HashMap<PairId, OuterPath>,
    /// What was last known of each IKE SA that is up.
    ikes: HashMap<IkeSaId, Box<IkeStatus>>,
    /// Traffic of children that were just removed.
    gone: VecDeque<(ChildId, Traffic)>,
    /// When IKE last sent something on a path from behind a NAT. Only paths of established SAs are entered: strangers
    /// must not make it grow.
    sent: HashMap<(SocketAddr, SocketAddr), Instant>,
    stopping: Option<Stop>,
}

struct Installed {
    ike: IkeSaId,
    /// Last traffic from the peer that the endpoint was told of.
    heard: Option<Instant>,
}

struct Stop {
    deadline: Instant,
    waiting: Vec<oneshot::Sender<()>>,
}

/// The time of this moment, for the endpoint that reads no clock.
pub fn now() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::now() }
}

impl Driver {
    /// A driver for `endpoint`, which installs its children, those `wanted`, in `path` and tells the subscribers of
    /// `handle`.
    pub(crate) fn new(
        endpoint: Endpoint,
        path: Arc<DataPath>,
        handle: Handle,
        wanted: Vec<Wanted>,
        nat_keepalive: Option<Duration>,
        keys: Option<KeySink>,
    ) -> Self {
        Self {
            endpoint,
            releaser: Releaser::new(Arc::clone(&path)),
            path,
            handle,
            wanted,
            nat_keepalive,
            keys,
            started: SystemTime::now(),
            children: HashMap::new(),
            watched: HashMap::new(),
            ikes: HashMap::new(),
            gone: VecDeque::new(),
            sent: HashMap::new(),
            stopping: None,
        }
    }

    /// Works until a stop was asked for and is complete.
    pub(crate) async fn run(mut self, requests: &mut mpsc::Receiver<Request>, mut datagrams: mpsc::Receiver<Datagram>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signals = Vec::new();
        let mut discards = Vec::new();
        let mut burst = Vec::with_capacity(BURST);
        let path = Arc::clone(&self.path);
        // Those with keys from the configuration are there already.
        for status in path.sad.statuses() {
            self.watch_path(status.pair.id());
        }
        loop {
            self.apply_outputs();
            if self.stopped() {
                break;
            }
            let deadline = self.deadline();
            tokio::select! {
                count = datagrams.recv_many(&mut burst, BURST) => {
                    for mut datagram in burst.drain(..count) {
                        self.endpoint.handle_datagram(now(), datagram.path, &mut datagram.bytes);
                        self.apply_outputs();
                    }
                }
                request = requests.recv() => self.serve(request),
                () = path.signals.raised() => {
                    path.signals.take(&mut signals);
                    for signal in signals.drain(..) {
                        self.follow(signal);
                    }
                }
                () = path.audit.raised() => self.tell_discards(&mut discards),
                () = path.net.path_mtus().changed() => self.path_mtus_changed(),
                () = sleep_until(deadline.into()) => self.endpoint.handle_timeout(now()),
                _ = tick.tick() => self.tick(),
            }
        }
        self.handle.notify(Notice::Stopping);
        for waiting in self.stopping.into_iter().flat_map(|stop| stop.waiting) {
            let _ = waiting.send(());
        }
    }

    /// When to wake up at the latest.
    fn deadline(&self) -> Instant {
        let idle = Instant::now() + Duration::from_secs(3600);
        let stop = self.stopping.as_ref().map(|stop| stop.deadline);
        self.endpoint.poll_timeout().into_iter().chain(stop).fold(idle, Instant::min)
    }

    fn stopped(&self) -> bool {
        let done = |stop: &Stop| Instant::now() >= stop.deadline || self.endpoint.ike_sas().next().is_none();
        self.stopping.as_ref().is_some_and(done)
    }

    fn serve(&mut self, request: Option<Request>) {
        match request {
            Some(Request::Command(command)) => self.endpoint.handle_command(now(), command),
            Some(Request::Status(reply)) => {
                let _ = reply.send(self.status());
            }
            Some(Request::TakeOver(terms, reply)) => {
                self.take_over(*terms);
                let _ = reply.send(());
            }
            Some(Request::Shutdown(reply)) => self.stop(Some(reply)),
            // Cannot happen while `self.handle` lives; were it so, nobody could ever stop us.
            None => self.stop(None),
        }
    }

    /// Works by another configuration from now on. Policies first: an SA whose policy is gone must not be asked for
    /// again by the packet that misses it. Packets that wait are judged anew, and what failed may be tried again.
    fn take_over(&mut self, terms: Terms) {
        let path = &*self.path;
        self.releaser.after(Instant::now(), || {
            path.shunts.clear();
            path.policies.store(Arc::new(terms.policies));
        });
        self.wanted = Wanted::all(&terms.ike);
        self.nat_keepalive = terms.nat_keepalive;
        self.path.tell_prohibited(terms.icmp_prohibited);
        self.endpoint.handle_command(now(), Command::Reconfigure(Box::new(terms.ike)));
    }

    fn stop(&mut self, reply: Option<oneshot::Sender<()>>) {
        if self.stopping.is_none() {
            self.endpoint.handle_command(now(), Command::Shutdown);
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        self.stopping.get_or_insert(Stop { deadline, waiting: Vec::new() }).waiting.extend(reply);
    }

    fn apply_outputs(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => self.transmit(&transmit),
                Output::InstallChild(child) => self.install(&child),
                Output::RetireChild(child) => drop(self.path.sad.retire_outbound(pair_id(child))),
                Output::ActivateChild(child) => {
                    let path = Arc::clone(&self.path);
                    self.up(pair_id(child), || path.sad.activate(pair_id(child)));
                }
                Output::MoveChild { child, path } => {
                    install::relocate(&self.path.sad, child, path);
                    self.watch_path(pair_id(child));
                }
                Output::RemoveChild(child) => self.remove(child),
                Output::Event(event) => self.report(event),
            }
        }
    }

    fn install(&mut self, child: &ChildInstall) {
        let path = Arc::clone(&self.path);
        match self.up(pair_id(child.id), || install::install(&path.sad, Instant::now(), child)) {
            Ok(()) => {
                self.children.insert(child.id, Installed { ike: child.ike, heard: None });
                self.watch_path(pair_id(child.id));
            }
            Err(error) => {
                tracing::error!("child {} of {} not installed: {error}", child.child.name, child.connection.name);
                self.endpoint.handle_command(now(), Command::ExpireChild(child.id));
            }
        }
    }

    /// Does what a signal of the data path asks for.
    fn follow(&mut self, signal: Signal) {
        let command = match signal {
            Signal::Acquire { policy, flow, .. } => return self.acquire(policy, flow),
            Signal::Used(pair) => {
                self.up(pair, || ());
                Command::ChildUsed(child_id(pair))
            }
            Signal::Resource { pair, resource } => Command::AddResource { child: child_id(pair), resource },
            Signal::Soft(pair) => Command::RekeyChild(child_id(pair)),
            Signal::Hard(pair) => Command::ExpireChild(child_id(pair)),
            Signal::Selectors(pair, start) => {
                Command::InvalidSelectors { child: child_id(pair), packet: start.octets().to_vec() }
            }
        };
        self.endpoint.handle_command(now(), command);
    }

    /// Passes on what the data path discarded.
    fn tell_discards(&self, discards: &mut Vec<AuditEvent>) {
        self.path.audit.take(discards);
        for event in discards.drain(..) {
            let pair = event.pair.and_then(|pair| self.path.sad.status(pair)).map(|status| status.pair.policy());
            let policies = self.path.policies.load();
            let policy = event.policy.or(pair).and_then(|id| {
                policies.iter().find(|policy| policy.action == Action::Protect(id)).map(|policy| policy.name.clone())
            });
            self.handle.notify(Notice::Audit { event, policy });
        }
    }

    fn transmit(&mut self, transmit: &Transmit) {
        let Transmit { path, datagram } = transmit;
        let framed;
        let (channel, contents) = if path.marker {
            framed = [&NON_ESP_MARKER[..], datagram].concat();
            if let Some(sent) = self.sent.get_mut(&(path.local, path.remote)) {
                *sent = Instant::now();
            }
            (Channel::NatT, &framed)
        } else {
            (Channel::Ike, datagram)
        };
        self.send(channel, path.local, path.remote, contents);
    }

    fn send(&self, channel: Channel, local: SocketAddr, remote: SocketAddr, contents: &[u8]) {
        let datagrams = &[IoSlice::new(contents)];
        let outgoing = Outgoing { datagrams, channel, local, remote, traffic_class: 0, df: false };
        if let Err(error) = self.path.net.send(&outgoing) {
            // IKE retransmits; if it lasts, the exchange fails and says so.
            tracing::debug!("{} octets to {remote} not sent: {error}", contents.len());
        }
    }

    fn remove(&mut self, child: ChildId) {
        self.children.remove(&child);
        self.forget_path(pair_id(child));
        if let Some(status) = self.path.sad.remove(pair_id(child)) {
            self.gone.truncate(REMEMBERED - 1);
            self.gone.push_front((child, traffic(&status)));
        }
    }

    /// What became of a child's traffic, whether it is still installed or just gone.
    fn final_traffic(&self, child: ChildId) -> Traffic {
        let installed = self.path.sad.status(pair_id(child)).map(|status| traffic(&status));
        let gone = || self.gone.iter().find(|(id, _)| *id == child).map(|(_, traffic)| *traffic);
        installed.or_else(gone).unwrap_or_default()
    }

    /// The IKE SA as it is now, kept for when it is gone.
    fn observe(&mut self, ike: IkeSaId) -> Option<Box<IkeStatus>> {
        if let Some(status) = self.endpoint.ike_sa(ike) {
            self.ikes.insert(ike, Box::new(status));
        }
        self.ikes.get(&ike).cloned()
    }

    fn report(&mut self, event: Event) {
        let notice = match event {
            Event::IkeUp(ike) => self.observe(ike).map(Notice::IkeUp),
            Event::IkeRekeyed { old, new } => {
                for child in self.children.values_mut().filter(|child| child.ike == old) {
                    child.ike = new;
                }
                self.observe(new).map(|new| Notice::IkeRekeyed { old, new })
            }
            Event::IkeDown { ike, connection, reason } => {
                let last = self.ikes.remove(&ike);
                if let Some(path) = last.as_ref().map(|last| last.path) {
                    self.sent.remove(&(path.local, path.remote));
                }
                Some(Notice::IkeDown { ike, connection: connection.map(|of| of.name.clone()), reason, last })
            }
            Event::ChildUp(child) => self.above(child).map(|ike| Notice::ChildUp { child, ike }),
            Event::ChildRekeyed { old, new } => self.above(new).map(|ike| Notice::ChildRekeyed { old, new, ike }),
            Event::ChildDown { child, ike, connection, name, reason } => Some(Notice::ChildDown {
                child,
                ike,
                connection: connection.name.clone(),
                name,
                reason,
                last: self.ikes.get(&ike).cloned(),
                traffic: self.final_traffic(child),
            }),
            Event::Failed(failure) => {
                self.failed(&failure);
                Some(Notice::Failed(failure))
            }
            Event::Retransmitted { ike, attempt } => Some(Notice::Retransmitted { ike, attempt }),
            Event::InvalidSelectors { child, packet, .. } => {
                self.above(child).map(|ike| Notice::InvalidSelectors { child, ike, packet })
            }
            Event::NoMoreResources { ike, child, notify } => {
                self.observe(ike).map(|ike| Notice::NoMoreResources { child, ike, notify })
            }
            Event::ResourcesAgain { child, resource } => {
                self.path.sad.ask_again(pair_id(child), resource);
                None
            }
            Event::Dropped { path, reason, .. } => {
                tracing::debug!("IKE datagram from {} dropped: {reason:?}", path.remote);
                None
            }
            Event::Keys(keys) => {
                if let Some(sink) = &mut self.keys {
                    sink(&keys);
                }
                None
            }
        };
        if let Some(notice) = notice {
            self.handle.notify(notice);
        }
    }

    /// The IKE SA above an installed child.
    fn above(&mut self, child: ChildId) -> Option<Box<IkeStatus>> {
        let ike = self.children.get(&child)?.ike;
        self.observe(ike)
    }

    fn tick(&mut self) {
        let alive: Vec<IkeSaId> = self.heard();
        for ike in alive {
            self.endpoint.handle_command(now(), Command::PeerAlive(ike));
        }
        self.refresh_nat_mappings();
        self.give_up();
    }

    /// IKE SAs with authenticated traffic since the last time: proof of liveness (RFC 7296 §2.4).
    fn heard(&mut self) -> Vec<IkeSaId> {
        let sad = &self.path.sad;
        let mut alive = Vec::new();
        for (&child, installed) in &mut self.children {
            let Some(status) = sad.status(pair_id(child)) else { continue };
            if status.inbound.last_used > installed.heard {
                installed.heard = status.inbound.last_used;
                alive.push(installed.ike);
            }
        }
        alive.sort_unstable();
        alive.dedup();
        alive
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("children", &self.children.len()).finish_non_exhaustive()
    }
}
