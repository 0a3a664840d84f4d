//! Two IKE endpoints that talk to each other by function call.

use std::time::{Instant, SystemTime};

use cygnet_ike::auth::{Authorities, Credential};
use cygnet_ike::config::StartAction;
use cygnet_ike::testing::Side;
use cygnet_ike::testing::scenario::{NAMES, Scenario};
use cygnet_ike::{Command, Config, Endpoint, Now, Output, Path};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// How the peers authenticate.
#[derive(Debug, Clone, Copy)]
pub enum Auth {
    /// A pre-shared key.
    Psk,
    /// ECDSA P-256 certificates under one CA.
    Ecdsa,
}

/// An initiator and a responder.
pub struct Peers {
    /// Starts the exchanges.
    pub initiator: Endpoint,
    /// Answers.
    pub responder: Endpoint,
    now: Now,
}

impl Peers {
    /// Two endpoints with nothing established.
    pub fn new((a, b): &(Config, Config)) -> Self {
        let now = Now { instant: Instant::now(), wall: SystemTime::now() };
        let endpoint =
            |config: &Config, seed| Endpoint::new(config.clone(), Box::new(StdRng::seed_from_u64(seed)), now);
        Self { initiator: endpoint(a, 1), responder: endpoint(b, 2), now }
    }

    /// IKE_SA_INIT and IKE_AUTH with the first Child SA, on both sides: four messages.
    pub fn connect(&mut self) {
        self.initiator.handle_command(self.now, Command::Initiate { connection: "net".into(), child: None });
        self.run(|_| {});
    }

    /// As [`connect`](Self::connect), and gives every datagram.
    pub fn recorded(mut self) -> Vec<Vec<u8>> {
        self.initiator.handle_command(self.now, Command::Initiate { connection: "net".into(), child: None });
        let mut datagrams = Vec::new();
        self.run(|datagram| datagrams.push(datagram.to_vec()));
        datagrams
    }

    fn run(&mut self, mut see: impl FnMut(&[u8])) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for (from, to) in [(0, 1), (1, 0)] {
                let ends = [&mut self.initiator, &mut self.responder];
                while let Some(output) = ends[from].poll_output() {
                    if let Output::Transmit(mut transmit) = output {
                        quiet = false;
                        see(&transmit.datagram);
                        let Path { local, remote, marker } = transmit.path;
                        let path = Path { local: remote, remote: local, marker };
                        ends[to].handle_datagram(self.now, path, &mut transmit.datagram);
                    }
                }
            }
        }
    }

    /// IKE SAs and Child SAs that the initiator holds.
    pub fn established(&self) -> (usize, usize) {
        self.initiator.ike_sas().fold((0, 0), |(ikes, children), sa| (ikes + 1, children + sa.children.len()))
    }
}

/// Configurations of both sides.
pub fn configs(auth: Auth) -> (Config, Config) {
    let bend = |scenario: &mut Scenario| {
        scenario.child.start = StartAction::None;
        scenario.config.cookie_threshold = usize::MAX;
        scenario.config.max_half_open = usize::MAX;
    };
    match auth {
        Auth::Psk => (Scenario::psk(Side::A).with(bend).build(), Scenario::psk(Side::B).with(bend).build()),
        Auth::Ecdsa => {
            let ca_key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let ca = params.self_signed(&ca_key).expect("a certificate").pem();
            let issuer = Issuer::new(params, ca_key);
            let side = |side, name: &str| {
                let key = KeyPair::generate().expect("a key");
                let params = CertificateParams::new(vec![name.to_owned()]).expect("a DNS name");
                let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
                let credential = Credential::new(certificate.as_bytes(), key.serialize_pem().as_bytes());
                let authorities = Authorities::new(ca.as_bytes()).expect("a CA certificate");
                Scenario::certificate(side, credential.expect("a credential"), authorities).with(bend).build()
            };
            (side(Side::A, NAMES[0]), side(Side::B, NAMES[1]))
        }
    }
}
