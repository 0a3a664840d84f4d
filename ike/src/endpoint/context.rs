//! What the SAs of one endpoint share, and the one way by which anything comes out.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use cygnet_esp::Spi;
use rand::CryptoRng;

use super::Now;
use super::spis::Spis;
use super::told::Told;
use crate::config::{Config, Connection};
use crate::event::{DropReason, Event, Failure};
use crate::identity::Identity;
use crate::message::IkeSpi;
use crate::output::{ChildId, ChildInstall, IkeSaId, Output, Path, Transmit};
use crate::sa::IkeSa;

/// Handed to every function of an SA and of an exchange.
pub(crate) struct Ctx {
    pub(crate) now: Now,
    pub(crate) config: Config,
    /// Counts configurations: an SA with another number has yet to take over the current one.
    pub(crate) epoch: u64,
    pub(crate) rng: Box<dyn CryptoRng + Send>,
    pub(crate) spis: Spis,
    outputs: VecDeque<Output>,
    /// The IKE SA above each installed child.
    owners: HashMap<ChildId, IkeSaId>,
    effects: Vec<Effect>,
    /// IKE SAs per peer address, half-open ones included.
    per_peer: HashMap<IpAddr, usize>,
    told: Told,
}

/// What an SA wants of its endpoint; done when the SA's turn is over.
pub(crate) enum Effect {
    /// A rekey made this SA.
    Successor { old: IkeSaId, new: Box<IkeSa> },
    /// IKE_AUTH is done.
    Authenticated(IkeSaId),
    /// `heir` keeps these for a while, for packets under way; then they go.
    Bequest { children: Vec<ChildId>, heir: IkeSaId },
    /// `by` is authenticated as `remote` and says that it knows of no other SA (INITIAL_CONTACT, RFC 7296 §2.4).
    InitialContact { by: IkeSaId, local: Identity, remote: Identity },
    /// Something of this connection went up or down, or failed to.
    Changed(Arc<Connection>),
}

impl Ctx {
    pub(crate) fn new(config: Config, mut rng: Box<dyn CryptoRng + Send>, now: Now) -> Self {
        let spis = Spis::new(&mut *rng, config.workers);
        Self {
            now,
            config,
            epoch: 0,
            rng,
            spis,
            outputs: VecDeque::new(),
            owners: HashMap::new(),
            effects: Vec::new(),
            per_peer: HashMap::new(),
            told: Told::default(),
        }
    }

    /// A fresh IKE SPI, never zero. 64 random bits do not collide within one endpoint.
    pub(crate) fn ike_spi(&mut self) -> IkeSpi {
        IkeSpi(self.rng.next_u64().max(1))
    }

    /// A fresh inbound SPI. One that replaces another leads to the same worker; one of a resource to the worker of that
    /// number; any other to any.
    pub(crate) fn esp_spi(&mut self, replaces: Option<Spi>, resource: Option<u32>) -> Spi {
        match replaces.map(|old| old.0).or(resource) {
            Some(number) => self.spis.esp_for(number),
            None => self.spis.esp(),
        }
    }

    /// A fresh nonce: 32 octets, at least half the key size of every PRF (RFC 7296 §2.10).
    pub(crate) fn nonce(&mut self) -> Vec<u8> {
        let mut nonce = vec![0; 32];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }

    pub(crate) fn transmit(&mut self, path: Path, datagrams: &[Vec<u8>]) {
        let transmits = datagrams.iter().map(|datagram| Transmit { path, datagram: datagram.clone() });
        self.outputs.extend(transmits.map(Output::Transmit));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// A datagram of whoever sent it.
    pub(crate) fn dropped(&mut self, path: Path, reason: DropReason) {
        self.event(Event::Dropped { path, reason, by_stranger: true });
    }

    /// A message that an authenticated peer sealed.
    pub(crate) fn dropped_of_peer(&mut self, path: Path, reason: DropReason) {
        self.event(Event::Dropped { path, reason, by_stranger: false });
    }

    pub(crate) fn failed(&mut self, mut failure: Failure) {
        failure.repeated = self.told.again(&failure);
        self.event(Event::Failed(failure));
    }

    pub(crate) fn install(&mut self, child: ChildInstall) {
        self.told.forget(&child.connection.name, child.path.remote.ip());
        self.owners.insert(child.id, child.ike);
        self.outputs.push_back(Output::InstallChild(Box::new(child)));
    }

    /// Nothing is sent on it any more.
    pub(crate) fn retire(&mut self, child: ChildId) {
        self.outputs.push_back(Output::RetireChild(child));
    }

    pub(crate) fn activate(&mut self, child: ChildId) {
        self.outputs.push_back(Output::ActivateChild(child));
    }

    pub(crate) fn move_child(&mut self, child: ChildId, path: Path) {
        self.outputs.push_back(Output::MoveChild { child, path });
    }

    /// The child has a new owner.
    pub(crate) fn adopt(&mut self, child: ChildId, ike: IkeSaId) {
        self.owners.insert(child, ike);
    }

    pub(crate) fn remove(&mut self, child: ChildId) {
        self.owners.remove(&child);
        self.outputs.push_back(Output::RemoveChild(child));
    }

    pub(crate) fn owner(&self, child: ChildId) -> Option<IkeSaId> {
        self.owners.get(&child).copied()
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn changed(&mut self, connection: &Arc<Connection>) {
        self.effect(Effect::Changed(connection.clone()));
    }

    /// How many IKE SAs there are with this address, in whatever phase.
    pub(crate) fn sas_with(&self, peer: IpAddr) -> usize {
        self.per_peer.get(&peer).copied().unwrap_or(0)
    }

    /// An IKE SA came, went or moved.
    pub(super) fn count_peer(&mut self, before: Option<IpAddr>, after: Option<IpAddr>) {
        if before == after {
            return;
        }
        if let Some(after) = after {
            *self.per_peer.entry(after).or_default() += 1;
        }
        if let Some(before) = before
            && let Some(count) = self.per_peer.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&before);
            }
        }
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}
