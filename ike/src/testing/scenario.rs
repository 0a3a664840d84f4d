//! Configurations for two nodes, to be bent by each test.

use std::sync::Arc;
use std::time::Duration;

use cygnet_esp::tunnel::Rules;
use cygnet_spd::{AddrRange, Mode, Pfp, PolicyId, TrafficSelector};

use crate::auth::{Authorities, Credential};
use crate::config::{
    Child, ChildLifetime, Config, Connection, Local, LocalAuth, Peer, PeerAuth, Retransmit, StartAction,
};
use crate::proposal::{Proposal, Protocol};
use crate::secret::Secret;

use super::Side;

/// The policy of the one child.
pub const NET: PolicyId = PolicyId(1);

/// Whom the sides take themselves for.
pub const NAMES: [&str; 2] = ["a.example", "b.example"];

/// What lies behind the sides.
pub const NETS: [&str; 2] = ["10.1.0.0/16", "10.2.0.0/16"];

/// One side's configuration, with one connection, `net`, and one child, `net`.
#[derive(Debug)]
pub struct Scenario {
    /// The connection.
    pub connection: Connection,
    /// Its one child.
    pub child: Child,
    /// Everything else.
    pub config: Config,
}

impl Scenario {
    /// A pre-shared key, one child on command, no lifetimes.
    pub fn psk(side: Side) -> Self {
        let secret = || Arc::new(Secret::new(b"a secret that both sides know".to_vec()));
        Self::new(side, LocalAuth::Psk(secret()), PeerAuth::Psk(secret()))
    }

    /// A certificate and its key for us, authorities for the peer.
    pub fn certificate(side: Side, credential: Credential, authorities: Authorities) -> Self {
        let (own, peer) = (LocalAuth::Certificate(Arc::new(credential)), PeerAuth::Certificate(Arc::new(authorities)));
        Self::new(side, own, peer)
    }

    fn new(side: Side, local: LocalAuth, peer: PeerAuth) -> Self {
        let (own, other) = match side {
            Side::A => (0, 1),
            Side::B => (1, 0),
        };
        let name = |index: usize| NAMES[index].parse().expect("an identity");
        let child = Child {
            name: "net".to_owned(),
            policy: NET,
            local_ts: selectors(&[NETS[own]]),
            remote_ts: selectors(&[NETS[other]]),
            mode: Mode::Tunnel,
            pfp: Pfp::default(),
            headers: Rules::default(),
            proposals: proposals(Protocol::Esp, "aes128gcm16"),
            start: StartAction::None,
            lifetime: ChildLifetime::default(),
            replay_window: 1024,
            per_resource_sas: false,
        };
        let connection = Connection {
            name: "net".to_owned(),
            local_addrs: vec![super::address(own)],
            remote_addrs: vec![AddrRange::host(super::address(other))],
            proposals: proposals(Protocol::Ike, "aes256gcm16-prfsha256-x25519"),
            local: Local { id: name(own), auth: local },
            peer: Peer { id: crate::identity::IdPattern::Exact(name(other)), auth: peer },
            children: Vec::new(),
            rekey_time: None,
            rekey_jitter: Duration::ZERO,
            over_time: Duration::from_secs(60),
            dpd_delay: None,
            retransmit: None,
            force_encap: false,
            fragment_size: Some(1200),
            retry: (Duration::from_secs(1), Duration::from_secs(30)),
        };
        let config = Config {
            connections: Vec::new(),
            retransmit: Retransmit {
                timeout: Duration::from_secs(1),
                base: 1.5,
                cap: Duration::from_secs(8),
                tries: 6,
            },
            cookie_threshold: 64,
            max_half_open: 128,
            ike_port: 500,
            nat_port: 4500,
            raw_esp: true,
            workers: 1,
            report_keys: false,
        };
        Self { connection, child, config }
    }

    /// Changed by `bend`.
    #[must_use]
    pub fn with(mut self, bend: impl FnOnce(&mut Self)) -> Self {
        bend(&mut self);
        self
    }

    /// The configuration.
    pub fn build(self) -> Config {
        let Self { mut connection, child, mut config } = self;
        connection.children.insert(0, Arc::new(child));
        config.connections.insert(0, Arc::new(connection));
        config
    }
}

/// Proposals from configuration text.
pub fn proposals(protocol: Protocol, text: &str) -> Vec<Proposal> {
    Proposal::parse(protocol, text).expect("a legal proposal")
}

/// Traffic selectors from text.
pub fn selectors(texts: &[&str]) -> Vec<TrafficSelector> {
    texts.iter().map(|text| text.parse().expect("a legal selector")).collect()
}
