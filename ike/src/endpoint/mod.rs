//! The surface of the core: datagrams, commands and timer expiries go in with `now`; one ordered queue comes out.

use std::collections::VecDeque;
use std::time::{Instant, SystemTime};

use rand::CryptoRng;

use crate::command::Command;
use crate::config::Config;
use crate::output::{IkeSaId, Output, Path};
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
    config: Config,
    outputs: VecDeque<Output>,
}

impl Endpoint {
    /// An endpoint at work: `Start` children of `config` are due at once, see [`Self::poll_timeout`].
    ///
    /// `rng` is the only source of SPIs, nonces, jitter and, where the backend allows it, of private keys.
    pub fn new(config: Config, _rng: Box<dyn CryptoRng + Send>, _now: Now) -> Self {
        Self { config, outputs: VecDeque::new() }
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes a datagram, the non-ESP marker stripped; it is opened in place.
    pub fn handle_datagram(&mut self, _now: Now, _path: Path, _datagram: &mut [u8]) {}

    /// Carries out a command, or starts to.
    pub fn handle_command(&mut self, _now: Now, _command: Command) {}

    /// The time of [`Self::poll_timeout`] has come. Calling it early or late does no harm.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// The next thing to do. Drain it after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Every IKE SA with its children. SAs that only linger to repeat their last answer are not listed.
    pub fn ike_sas(&self) -> impl Iterator<Item = IkeStatus> {
        std::iter::empty()
    }

    /// One IKE SA.
    pub fn ike_sa(&self, _id: IkeSaId) -> Option<IkeStatus> {
        None
    }
}
