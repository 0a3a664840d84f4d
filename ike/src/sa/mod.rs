//! One IKE SA: three questions, three types.
//!
//! | question | type | file |
//! |---|---|---|
//! | How far is the peer trusted? | [`Phase`] | [`phase`] |
//! | Which message IDs are in flight? | [`Window`] | [`window`] |
//! | What did we ask? | [`InFlight`] | [`crate::exchange`] |
//!
//! This file holds the SA and answers questions about it; [`inbound`] takes its messages, [`outbound`] sends,
//! [`lifecycle`] runs its timers, opens and closes it, [`reconfigure`] takes over a new configuration, and [`twin`] gives
//! way to an SA that the other side started at the same time.

pub(crate) mod children;
mod fragments;
mod inbound;
pub(crate) mod keys;
mod lifecycle;
pub(crate) mod nat;
mod outbound;
pub(crate) mod phase;
mod reconfigure;
pub(crate) mod timers;
mod twin;
pub(crate) mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use self::children::Children;
use self::fragments::Reassembly;
use self::phase::Phase;
use self::timers::{Timer, Timers};
use self::window::Window;
use cygnet_esp::Spi;

use crate::config::Connection;
use crate::event::DownReason;
use crate::exchange::wish::Wish;
use crate::exchange::{InFlight, Task};
use crate::identity::Identity;
use crate::message::{HashAlgorithm, IkeSpi};
use crate::output::{ChildId, IkeSaId, Path};
use crate::status::{IkeState, IkeStatus, NatStatus};

/// An IKE SA.
pub(crate) struct IkeSa {
    pub(crate) id: IkeSaId,
    /// Whether we are the original initiator (RFC 7296 §2.2).
    pub(crate) initiator: bool,
    pub(crate) spi_i: IkeSpi,
    pub(crate) spi_r: IkeSpi,
    pub(crate) path: Path,
    pub(crate) connection: Option<Arc<Connection>>,
    /// The configuration that connection and templates are of, as [`Ctx::epoch`](crate::endpoint::context::Ctx) counts.
    pub(crate) epoch: u64,
    pub(crate) phase: Phase,
    pub(crate) window: Window,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) queue: VecDeque<Task>,
    pub(crate) children: Children,
    pub(crate) timers: Timers,
    pub(crate) peer: PeerFeatures,
    pub(crate) nat: NatStatus,
    /// SPIs that the peer deleted while we wait for an answer that may bring them: ours overtook its response.
    pub(crate) deleted_early: Vec<Spi>,
    /// When we last told the peer INVALID_SELECTORS, and when we last reported that it told us.
    pub(crate) mismatch: Mismatch,
    /// A successor has its children; only its Delete is to come.
    pub(crate) superseded: bool,
    /// How it began; a successor inherits it.
    pub(crate) birth: Birth,
    /// The peer surely has it, too: as responder of IKE_AUTH, we do not know whether our response arrived.
    pub(crate) confirmed: bool,
    /// The other side started one at the same time, and that is the one that stays.
    pub(crate) twin: Option<IkeSaId>,
    /// The twin was asked for the children that only this one has.
    pub(crate) twin_asked: bool,
    /// Digest of the IKE_SA_INIT request that made us responder.
    pub(crate) init_digest: Option<[u8; 32]>,
    pub(crate) created: Instant,
    /// When something authentic last came from the peer.
    pub(crate) heard_at: Instant,
    requests: Reassembly,
    responses: Reassembly,
}

/// How an IKE SA began, before all rekeys.
#[derive(Debug, Clone)]
pub(crate) struct Birth {
    /// Whether we sent the first IKE_SA_INIT request.
    pub(crate) ours: bool,
    /// When we sent or received that.
    pub(crate) at: Instant,
    /// When it was authenticated.
    pub(crate) done: Option<Instant>,
    /// The lower one of its two nonces, once both are known (RFC 7296 §2.8.1).
    pub(crate) lowest_nonce: Vec<u8>,
}

/// INVALID_SELECTORS in both directions: when the last one was heeded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mismatch {
    pub(crate) told: Option<Instant>,
    pub(crate) heard: Option<Instant>,
}

/// What the peer said it can do.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerFeatures {
    /// IKEV2_FRAGMENTATION_SUPPORTED (RFC 7383 §2.3).
    pub(crate) fragmentation: bool,
    /// SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4), if it sent them.
    pub(crate) hashes: Option<Vec<HashAlgorithm>>,
    /// Both NAT_DETECTION notifications were there (RFC 7296 §2.23).
    pub(crate) nat_traversal: bool,
}

/// The part of a new SA that its making decides.
pub(crate) struct Origin {
    pub(crate) initiator: bool,
    pub(crate) spi_i: IkeSpi,
    pub(crate) spi_r: IkeSpi,
    pub(crate) path: Path,
    pub(crate) connection: Option<Arc<Connection>>,
    pub(crate) epoch: u64,
    pub(crate) phase: Phase,
    pub(crate) window: Window,
}

impl IkeSa {
    pub(crate) fn new(id: IkeSaId, now: Instant, origin: Origin) -> Self {
        let Origin { initiator, spi_i, spi_r, path, connection, epoch, phase, window } = origin;
        Self {
            id,
            initiator,
            spi_i,
            spi_r,
            path,
            connection,
            epoch,
            phase,
            window,
            in_flight: None,
            queue: VecDeque::new(),
            children: Children::default(),
            timers: Timers::default(),
            peer: PeerFeatures::default(),
            nat: NatStatus::default(),
            deleted_early: Vec::new(),
            mismatch: Mismatch::default(),
            superseded: false,
            birth: Birth { ours: initiator, at: now, done: None, lowest_nonce: Vec::new() },
            confirmed: initiator,
            twin: None,
            twin_asked: false,
            init_digest: None,
            created: now,
            heard_at: now,
            requests: Reassembly::default(),
            responses: Reassembly::default(),
        }
    }

    pub(crate) fn id(&self) -> IkeSaId {
        self.id
    }

    /// The SPI that we chose.
    pub(crate) fn local_spi(&self) -> IkeSpi {
        if self.initiator { self.spi_i } else { self.spi_r }
    }

    /// The SPI that the peer chose; zero while it has not.
    pub(crate) fn remote_spi(&self) -> IkeSpi {
        if self.initiator { self.spi_r } else { self.spi_i }
    }

    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.clone()
    }

    pub(crate) fn init_digest(&self) -> Option<[u8; 32]> {
        self.init_digest
    }

    pub(crate) fn created(&self) -> Instant {
        self.created
    }

    /// Nothing is left to do for it: its owner can drop it.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. }) && self.timers.at(Timer::Forget).is_none()
    }

    /// It holds memory for a peer that is not authenticated, or was refused.
    pub(crate) fn is_half_open(&self) -> bool {
        match self.phase {
            Phase::Responding(_) => true,
            Phase::Closing { was_half_open, .. } => was_half_open,
            Phase::Initiating(_) | Phase::Established(_) => false,
        }
    }

    pub(crate) fn is_established(&self) -> bool {
        self.phase.established().is_some()
    }

    pub(crate) fn is_of(&self, connection: &str) -> bool {
        self.connection.as_ref().is_some_and(|c| c.name == connection)
    }

    /// Whether it is authenticated between these two.
    pub(crate) fn is_between(&self, local: &Identity, remote: &Identity) -> bool {
        self.phase.established().is_some_and(|e| e.local_id == *local && e.remote_id == *remote)
    }

    /// Whether it was established before `time`.
    pub(crate) fn is_older_than(&self, time: Instant) -> bool {
        self.phase.established().is_some_and(|e| e.since < time)
    }

    /// Whether a child of this name carries traffic.
    pub(crate) fn serves(&self, child: &str) -> bool {
        self.is_established() && !self.is_deleting() && self.children.serving(child).is_some()
    }

    /// Whether a child of this name is being negotiated, or will be: for itself, not beside others that may go before.
    pub(crate) fn expects(&self, child: &str) -> bool {
        self.coming().any(|wish| wish.template.name == child && wish.joins().is_none())
    }

    /// Whether a child that does for `wish` is being negotiated, or will be.
    pub(crate) fn expects_for(&self, wish: &Wish) -> bool {
        self.coming().any(|coming| wish.is_met_by(coming))
    }

    /// Children that are being negotiated, or will be.
    pub(crate) fn coming(&self) -> impl Iterator<Item = &Wish> {
        let over = matches!(self.phase, Phase::Closing { .. }) || self.is_deleting();
        let queued = self.queue.iter().filter_map(|task| match task {
            Task::CreateChild(wish) => Some(wish),
            _ => None,
        });
        queued.chain(self.in_flight.as_ref().and_then(InFlight::wish)).filter(move |_| !over)
    }

    /// Whether we dialled a peer that has not answered yet.
    pub(crate) fn is_dialling(&self) -> bool {
        self.initiator && matches!(self.phase, Phase::Initiating(None))
    }

    /// Whether our IKE_AUTH request waits for its answer.
    pub(crate) fn is_proving(&self) -> bool {
        matches!((&self.phase, &self.in_flight), (Phase::Initiating(Some(_)), Some(InFlight::IkeAuth(_))))
    }

    /// Whether new children can be asked of it: it is initiating or established, and not on its way out.
    pub(crate) fn takes_children(&self) -> bool {
        matches!(self.phase, Phase::Initiating(_) | Phase::Established(_)) && !self.is_deleting()
    }

    /// Whether it is on its way out, by our Delete or the peer's.
    pub(crate) fn is_deleting(&self) -> bool {
        self.superseded || self.deletes_itself()
    }

    /// Whether we asked the peer to delete it, or are about to.
    pub(crate) fn deletes_itself(&self) -> bool {
        let doomed = |task: &Task| matches!(task, Task::DeleteIke(_));
        self.in_flight.as_ref().is_some_and(InFlight::ends_sa) || self.queue.iter().any(doomed)
    }

    /// Whether we asked the peer to delete a child, or are about to.
    pub(crate) fn is_about_to_delete(&self, child: ChildId) -> bool {
        // Tasks are alike whatever their reason.
        let task = Task::DeleteChild(child, DownReason::Command);
        self.in_flight.as_ref().is_some_and(|exchange| exchange.is_for(&task)) || self.queue.contains(&task)
    }

    /// Whether ESP goes in UDP: there is a NAT, or one side says so, and both can do it (RFC 7296 §2.23).
    pub(crate) fn encapsulates(&self) -> bool {
        let NatStatus { local, remote, faked } = self.nat;
        self.peer.nat_traversal && (local || remote || faked)
    }

    /// Connection and template of a child.
    pub(crate) fn names_of(&self, child: ChildId) -> Option<(Arc<Connection>, String)> {
        Some((self.connection.clone()?, self.children.find(child)?.template.name.clone()))
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.timers.next(), self.window.deadline(), self.children.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// How it looks from outside; `None` if it is over.
    pub(crate) fn status(&self) -> Option<IkeStatus> {
        let state = match &self.phase {
            Phase::Closing { .. } => return None,
            Phase::Initiating(_) | Phase::Responding(_) => IkeState::Connecting,
            Phase::Established(_) if self.is_deleting() => IkeState::Deleting,
            Phase::Established(_) if matches!(self.in_flight, Some(InFlight::RekeyIke(_))) => IkeState::Rekeying,
            Phase::Established(_) => IkeState::Established,
        };
        let established = self.phase.established();
        let configured = || self.connection.as_ref().map(|c| c.local.id.clone());
        Some(IkeStatus {
            id: self.id,
            connection: self.connection.clone(),
            state,
            initiator: self.initiator,
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            path: self.path,
            local_id: established.map(|e| e.local_id.clone()).or_else(configured),
            remote_id: established.map(|e| e.remote_id.clone()),
            algorithms: self.phase.secured().map(|secured| secured.algorithms),
            established: established.map(|e| e.since),
            rekey_at: self.timers.at(Timer::Rekey),
            expires_at: self.timers.at(Timer::Expire),
            nat: self.nat,
            active_task: self.in_flight.as_ref().map(InFlight::name),
            queued_tasks: self.queue.iter().map(Task::name).collect(),
            children: self.children.status(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_without_nat_traversal_gets_no_encapsulation_whatever_we_pretend() {
        let at = "192.0.2.1:500".parse().unwrap();
        let origin = Origin {
            initiator: true,
            spi_i: IkeSpi(1),
            spi_r: IkeSpi(2),
            path: Path { local: at, remote: at, marker: false },
            connection: None,
            epoch: 0,
            phase: Phase::Initiating(None),
            window: Window::default(),
        };
        let mut sa = IkeSa::new(IkeSaId(1), Instant::now(), origin);
        sa.nat.faked = true;
        assert!(!sa.encapsulates());
        sa.peer.nat_traversal = true;
        assert!(sa.encapsulates());
    }
}
