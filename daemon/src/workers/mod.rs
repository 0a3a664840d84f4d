//! The data path, on threads of its own.
//!
//! ```text
//! outbound:  TUN batch ─► fragments? ─► flow cache ─► spd ─► sad ─► fits the path? ─► seal in place ─► UDP batch
//!                            │                         │      │           └► no: told to its sender
//!                            └► put together           │      └► no SA: hold, clear, drop; driver asks for one
//!                                                      └► bypass: clear; discard
//! inbound:   UDP batch ─► classify ─► sad ─► open in place ─► transport: header back ─► selector check ─► TUN
//!                            └► IKE ─► driver
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `outbound/`, `inbound.rs` | the workers |
//! | `shunt.rs` | SAs that are wanted and not there: being negotiated, or failed |
//! | `hold.rs` | packets that wait for them |
//! | `tally.rs` | what left in the clear for want of them |
//! | `signals.rs` | what IKE must know |
//! | `audit.rs`, `rate.rs` | what was discarded, told within limits |
//! | `counters.rs` | where every packet ended |
//! | `cores.rs` | which core a thread is bound to |
//!
//! There is a worker for each queue of either network. The kernel puts the packets of a flow into one queue of the TUN
//! device, and those of an SA into one of the network ([`steering`](crate::net::steering)), so that threads do not
//! overtake each other; several may seal for one SA, each with a range of sequence numbers of its own, and send in
//! [`Turn`](cygnet_sad::Turn)s. One thing mixes SAs: a kernel that puts datagrams together (GRO) looks at addresses and
//! ports, not at SPIs, so that packets of one SA may come along with those of another between the same gateways.
//!
//! Each worker owns its packet buffers for ever: they are filled, worked on in place, emptied and filled again, and
//! nothing is allocated per packet. Per batch there is one snapshot of policies and SAD, and per SA in it one
//! reservation of sequence numbers or two short locks of the replay window; a flow seen before costs no look-up. What
//! is seldom may lock and allocate, within bounds: a packet without SA, a fragment. Every packet ends in exactly one of
//! [`Counters`].
//!
//! TTL: the kernel forwards a packet into the TUN device, and forwards what comes out of it, and takes a hop off each
//! time. That is the decrement of RFC 4301 §5.1.2; the workers do not repeat it.

pub mod audit;
mod cores;
mod counters;
mod hold;
mod inbound;
mod outbound;
mod rate;
mod shunt;
mod signals;
mod tally;

use std::io;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use cygnet_ike::Path;
use cygnet_sad::{Pair, PairId, Sad, Usage};
use cygnet_spd::Policies;
use tokio::sync::mpsc;

pub use self::audit::{Audit, AuditEvent};
pub use self::counters::{Clear, Counters, Inbound, Outbound};
pub use self::hold::{Hold, PER_PEER};
pub use self::inbound::InboundWorker;
pub use self::outbound::{Filled, Fragments, OutboundWorker, Releaser};
pub use self::shunt::{Key, Shunt, Shunts};
pub use self::signals::{Signal, Signals, Start};
pub use self::tally::{Cleared, Tallies};

use self::cores::Cores;
use self::rate::Rate;
use crate::net::Net;
use crate::tun::Tun;

/// Packets worked on together: some large frames of the TUN device, cut.
pub const BATCH: usize = 256;
/// Senders told each second that their packets are too big (RFC 4443 §2.4 f). Each flow needs it once in a while; a
/// sender that does not listen must not make us answer each of its packets.
const TOO_BIG_PER_SECOND: u32 = 100;
/// Senders told each second that policy forbids their packets (RFC 4443 §2.4 f): a host that scans a protected network
/// must not make us answer each of its packets.
const PROHIBITED_PER_SECOND: u32 = 20;

/// Packets outside the selectors of their SA that IKE is told of each second: whatever a peer sends, the driver is not
/// kept busy by it. How often each peer hears of it, IKE limits.
const SELECTORS_PER_SECOND: u32 = 10;

/// What the workers of both directions and the driver share.
pub struct DataPath {
    /// The outer network.
    pub net: Arc<dyn Net>,
    /// The inner network.
    pub tun: Arc<dyn Tun>,
    /// The SAs. The driver writes, the workers read.
    pub sad: Sad,
    /// The policies.
    pub policies: ArcSwap<Policies>,
    /// Where every packet ended.
    pub counters: Counters,
    /// What IKE must know.
    pub signals: Signals,
    /// How SAs stand that are wanted and not there.
    pub shunts: Shunts,
    /// What left in the clear for want of an SA.
    pub cleared: Tallies,
    /// Packets that wait for their SA.
    pub hold: Hold,
    /// Fragments that wait for the others of their packet.
    pub fragments: Fragments,
    /// Discards, told to whoever keeps the books.
    pub audit: Audit,
    /// How often senders are told that their packets are too big.
    too_big: Rate,
    /// How often senders are told that policy forbids their packets.
    prohibited: Rate,
    /// Whether they are told at all.
    tell_prohibited: AtomicBool,
    /// How often IKE is told of packets outside their selectors.
    selectors: Rate,
    /// Largest packet from the TUN device, octets.
    pub mtu: usize,
}

impl DataPath {
    /// A data path without SAs.
    pub fn new(net: Arc<dyn Net>, tun: Arc<dyn Tun>, policies: Policies, mtu: usize) -> Arc<Self> {
        Arc::new(Self {
            net,
            tun,
            sad: Sad::new(),
            policies: ArcSwap::from_pointee(policies),
            counters: Counters::new(),
            signals: Signals::new(),
            shunts: Shunts::default(),
            cleared: Tallies::new(),
            hold: Hold::default(),
            fragments: Fragments::new(),
            audit: Audit::new(),
            too_big: Rate::new(TOO_BIG_PER_SECOND, TOO_BIG_PER_SECOND),
            prohibited: Rate::new(PROHIBITED_PER_SECOND, PROHIBITED_PER_SECOND),
            tell_prohibited: AtomicBool::new(false),
            selectors: Rate::new(SELECTORS_PER_SECOND, SELECTORS_PER_SECOND),
            mtu,
        })
    }

    /// Whether the senders of packets that policy lets go nowhere are told so by ICMP (RFC 4301 §5.1.1): not until
    /// this is called.
    pub fn tell_prohibited(&self, tell: bool) {
        self.tell_prohibited.store(tell, Ordering::Relaxed);
    }

    /// Passes on what a batch set off. What finds no room is told again by the next traffic.
    fn tell(&self, pair: &Pair, usage: Usage) {
        if usage.is_nothing() {
            return;
        }
        let raise = |told: bool, signal: fn(PairId) -> Signal| told && !self.signals.raise(signal(pair.id()));
        let lost = Usage {
            activated: raise(usage.activated, Signal::Used),
            soft: raise(usage.soft, Signal::Soft),
            hard: raise(usage.hard, Signal::Hard),
        };
        if !lost.is_nothing() {
            pair.tell_again(lost);
        }
    }
}

impl std::fmt::Debug for DataPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataPath").field("tun", &self.tun.name()).finish_non_exhaustive()
    }
}

/// An IKE message that arrived, marker removed.
#[derive(Debug)]
pub struct Datagram {
    /// How it came.
    pub path: Path,
    /// From the IKE header on.
    pub bytes: Vec<u8>,
}

/// A thread of the data path ended, and with it the gateway's ability to do its work.
#[derive(Debug)]
pub struct WorkerFailure {
    /// Name of the thread.
    pub worker: String,
    /// Why.
    pub error: io::Error,
}

/// The running threads of a data path.
#[derive(Debug)]
pub struct Threads {
    path: Arc<DataPath>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts a thread for each queue of either network, bound to a core with `pinned`. IKE messages go to `ike`,
    /// and are dropped when it is full. A thread that ends without having been stopped says so to `failures`.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn spawn(
        path: &Arc<DataPath>,
        pinned: bool,
        ike: &mpsc::Sender<Datagram>,
        failures: &mpsc::UnboundedSender<WorkerFailure>,
    ) -> io::Result<Self> {
        // Stops those already started if a later one fails.
        let mut all = Self { path: Arc::clone(path), threads: Vec::new() };
        let cores = if pinned { Cores::ours()? } else { Cores::any() };
        for n in 0..path.tun.queues() {
            let mut worker = OutboundWorker::new(Arc::clone(path), n);
            all.start(format!("cygnet-out-{n}"), cores.pick(n), failures, move || worker.run())?;
        }
        for n in 0..path.net.queues() {
            let mut worker = InboundWorker::new(Arc::clone(path), n, ike.clone());
            all.start(format!("cygnet-in-{n}"), cores.pick(path.tun.queues() + n), failures, move || worker.run())?;
        }
        Ok(all)
    }

    fn start(
        &mut self,
        name: String,
        core: Option<usize>,
        failures: &mpsc::UnboundedSender<WorkerFailure>,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let (failures, worker) = (failures.clone(), name.clone());
        let run = move || {
            if let Some(core) = core
                && let Err(error) = cores::pin(core)
            {
                tracing::warn!("{worker} is not bound to core {core}: {error}");
            }
            // What a panic left half done is never looked at again: the gateway stops.
            let result = panic::catch_unwind(panic::AssertUnwindSafe(run));
            if let Err(error) = result.unwrap_or_else(|_| Err(io::Error::other("it panicked"))) {
                // Nobody listens any more when the gateway is being stopped, and then nobody needs to.
                let _ = failures.send(WorkerFailure { worker, error });
            }
        };
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Stops the threads and waits for them to finish their batch.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.path.net.stop();
        self.path.tun.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.halt();
    }
}
