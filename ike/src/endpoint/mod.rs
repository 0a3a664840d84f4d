//! The surface of the core: datagrams, commands and timer expiries go in with `now`; one ordered queue comes out.
//!
//! | file | question |
//! |---|---|
//! | `inbound` | which SA does a datagram belong to, and what if to none? |
//! | `commands` | which SA does a command mean? |
//! | `admission` | may a stranger make us keep state (RFC 7296 §2.6)? |
//! | `schedule` | which SA wants the clock next? |
//! | `upkeep` | which children should be up, but are not? |
//! | `twins` | which SA stays where both sides started one? |
//! | `way` | with which peer? |
//! | `told` | was this failure reported before? |
//! | `context`, `spis` | what do the SAs share? |

mod admission;
mod commands;
pub(crate) mod context;
mod inbound;
mod schedule;
mod spis;
mod told;
mod twins;
mod upkeep;
mod way;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use rand::CryptoRng;

use self::admission::Admission;
use self::context::{Ctx, Effect};
use self::schedule::Schedule;
use self::upkeep::{Standing, Upkeep};
use self::way::Way;
use crate::config::{Child, Config};
use crate::event::DownReason;
use crate::message::IkeSpi;
use crate::output::{IkeSaId, Output};
use crate::sa::IkeSa;
use crate::status::IkeStatus;

/// The time of an input. Both clocks are the caller's; the core reads none.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For timers; never goes back.
    pub instant: Instant,
    /// For the validity of certificates.
    pub wall: SystemTime,
}

/// One IKE implementation at one set of addresses: every IKE SA it has, in both roles.
pub struct Endpoint {
    cx: Ctx,
    sas: BTreeMap<IkeSaId, IkeSa>,
    /// By the SPI that we chose.
    by_spi: HashMap<IkeSpi, IkeSaId>,
    /// Responders by the digest of their IKE_SA_INIT request, so that its repetition is known (RFC 7296 §2.1).
    by_init: HashMap<inbound::Digest, IkeSaId>,
    half_open: HashSet<IkeSaId>,
    /// The peer address under which each SA is counted.
    counted: HashMap<IkeSaId, IpAddr>,
    schedule: Schedule,
    admission: Admission,
    upkeep: Upkeep,
    /// SAs of ours that give way to one that the other side started at the same time.
    twins: BTreeSet<IkeSaId>,
    stopping: bool,
}

impl Endpoint {
    /// An endpoint at work: `Start` children of `config` are due at once, see [`Self::poll_timeout`].
    ///
    /// `rng` is the only source of SPIs, nonces, jitter and, where the backend allows it, of private keys.
    pub fn new(config: Config, rng: Box<dyn CryptoRng + Send>, now: Now) -> Self {
        let upkeep = Upkeep::new(&config, now.instant);
        let (threshold, max_half_open) = (config.cookie_threshold, config.max_half_open);
        let mut cx = Ctx::new(config, rng, now);
        let admission = Admission::new(&mut *cx.rng, threshold, max_half_open);
        Self {
            cx,
            sas: BTreeMap::new(),
            by_spi: HashMap::new(),
            by_init: HashMap::new(),
            half_open: HashSet::new(),
            counted: HashMap::new(),
            schedule: Schedule::default(),
            admission,
            upkeep,
            twins: BTreeSet::new(),
            stopping: false,
        }
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.cx.config
    }

    /// The time of [`Self::poll_timeout`] has come. Calling it early or late does no harm.
    pub fn handle_timeout(&mut self, now: Now) {
        self.cx.now = now;
        for id in self.schedule.due(now.instant) {
            self.with_sa(id, IkeSa::handle_timeout);
        }
        for (connection, child) in self.upkeep.due(now.instant) {
            self.bring_up(&connection, vec![child], None, Way::configured());
        }
    }

    /// The next thing to do. Drain it after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.poll_output()
    }

    /// When to call [`Self::handle_timeout`], if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next().into_iter().chain(self.upkeep.next()).min()
    }

    /// Every IKE SA with its children. SAs that only linger to repeat their last answer are not listed.
    pub fn ike_sas(&self) -> impl Iterator<Item = IkeStatus> {
        self.sas.values().filter_map(IkeSa::status)
    }

    /// One IKE SA.
    pub fn ike_sa(&self, id: IkeSaId) -> Option<IkeStatus> {
        self.sas.get(&id).and_then(IkeSa::status)
    }

    /// IKE SAs that hold memory, whatever their state: what a bound on memory is about.
    pub fn footprint(&self) -> usize {
        self.sas.len()
    }

    /// Runs `turn` on an SA, then does what follows from it.
    fn with_sa(&mut self, id: IkeSaId, turn: impl FnOnce(&mut IkeSa, &mut Ctx)) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        turn(sa, &mut self.cx);
        self.settle(id);
    }

    /// A new SA.
    fn insert(&mut self, sa: IkeSa) {
        let id = sa.id();
        self.by_spi.insert(sa.local_spi(), id);
        if let Some(digest) = sa.init_digest() {
            self.by_init.insert(digest, id);
        }
        self.sas.insert(id, sa);
        self.settle(id);
    }

    /// Brings indexes and schedule up to date with an SA that had its turn, then sees to its effects.
    fn settle(&mut self, id: IkeSaId) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        if sa.epoch != self.cx.epoch {
            sa.reconfigure(&mut self.cx);
        }
        if sa.is_gone() {
            self.by_spi.remove(&sa.local_spi());
            if let Some(digest) = sa.init_digest() {
                self.by_init.remove(&digest);
            }
            self.half_open.remove(&id);
            let before = self.counted.remove(&id);
            self.cx.count_peer(before, None);
            self.schedule.set(id, None);
            self.sas.remove(&id);
        } else {
            if sa.is_half_open() {
                self.half_open.insert(id);
            } else {
                self.half_open.remove(&id);
            }
            let at = sa.path.remote.ip();
            let before = self.counted.insert(id, at);
            self.cx.count_peer(before, Some(at));
            self.schedule.set(id, sa.deadline());
        }
        self.apply_effects();
    }

    fn apply_effects(&mut self) {
        for effect in self.cx.take_effects() {
            self.apply(effect);
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Authenticated(id) => self.authenticated(id),
            Effect::Bequest { children, heir } => self.bequest(children, heir),
            Effect::Successor { old, new } => {
                let id = new.id();
                self.insert(*new);
                self.twin_rekeyed(old, id);
                // What waited on the old SA goes on here.
                self.with_sa(id, IkeSa::start_next);
            }
            Effect::InitialContact { by, local, remote } => {
                let Some(since) = self.sas.get(&by).map(IkeSa::created) else { return };
                // What was established after the peer began this SA is no leftover of its former life: both sides
                // may have initiated at once.
                let stale = |sa: &&IkeSa| sa.id() != by && sa.is_between(&local, &remote) && sa.is_older_than(since);
                let stale: Vec<IkeSaId> = self.sas.values().filter(stale).map(IkeSa::id).collect();
                for id in stale {
                    self.with_sa(id, |sa, cx| sa.abandon(cx, DownReason::PeerRestarted));
                }
            }
            Effect::Changed(connection) => {
                let sas = &self.sas;
                let standing = |child: &Child| {
                    let way = Way::upkeep(&connection, child);
                    let all = || sas.values().filter(|sa| sa.is_of(&connection.name) && way.is_of(sa));
                    if all().any(|sa| sa.serves(&child.name)) {
                        Standing::Up
                    } else if all().any(|sa| sa.expects(&child.name)) {
                        Standing::Coming
                    } else {
                        Standing::Down
                    }
                };
                self.upkeep.review(self.cx.now.instant, &mut *self.cx.rng, &connection, standing);
                self.see_to_twins();
            }
        }
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("ike_sas", &self.sas.len()).finish_non_exhaustive()
    }
}
