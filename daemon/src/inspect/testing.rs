//! Moments made up for tests.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cygnet_esp::{ENCR, Inbound, Outbound, Spi};
use cygnet_sad::{Activation, Lifetime, NewPair, Origin, PairId, Sad};
use cygnet_spd::{Action, Flow, SaState};

use super::{Filtered, Inspection};
use crate::config;
use crate::handle::{Failed, Status};
use crate::workers::{Key, Shunt};

/// A gateway by `children` of one connection and `policies`, without SAs.
pub(crate) fn moment(remote: &str, rest: &str) -> Inspection {
    let text = format!(
        "secrets.a.psk = \"a long enough secret\"\n[connections.c]\nlocal_addrs = \"192.0.2.1\"\nremote_addrs = {remote}\n{rest}"
    );
    let config = config::parse(&text, "test.toml", Path::new("")).unwrap_or_else(|report| panic!("{report:?}"));
    let status = Status {
        started: SystemTime::now(),
        ike_sas: Vec::new(),
        traffic: Default::default(),
        packets: Vec::new(),
        tun: "cygnet0".to_owned(),
        offloads: Vec::new(),
    };
    let policies = Arc::new(config.policies.clone());
    let (pairs, failures, shunts, cleared) = Default::default();
    let filtered = Some(Filtered::default());
    Inspection { config: Arc::new(config), status, policies, pairs, failures, shunts, cleared, filtered }
}

impl Inspection {
    /// With an SA for each policy that protects.
    pub(crate) fn with_sas(mut self) -> Self {
        let (sad, encr) = (Sad::new(), &ENCR[0]);
        let (key, integ) = (vec![7; encr.encryption_len()], vec![7; encr.integ_key_len]);
        for (n, policy) in (1..).zip(self.policies.iter()) {
            let Action::Protect(id) = policy.action else { continue };
            let spi = Spi(0x1000 + u32::try_from(n).expect("few"));
            let new = NewPair {
                id: PairId(n),
                policy: id,
                selector: policy.selector.clone(),
                mode: policy.terms.mode,
                headers: Default::default(),
                original: None,
                origin: Origin::Manual,
                inbound: Inbound::new(spi, encr, &key, &integ, false, 64).expect("keys fit"),
                outbound: Outbound::new(Spi(spi.0 + 0x1000), encr, &key, &integ, false).expect("keys fit"),
                path: cygnet_sad::Path {
                    local: "192.0.2.1:4500".parse().expect("an address"),
                    remote: "192.0.2.2:4500".parse().expect("an address"),
                    udp_encapsulation: true,
                },
                lifetime: Lifetime::default(),
                resource: None,
                replaces: None,
                activation: Activation::Now,
            };
            sad.install(Instant::now(), new).expect("free");
        }
        self.pairs = sad.statuses();
        self
    }

    /// With a failed negotiation of `child`.
    pub(crate) fn with_failure(mut self, child: &str, reason: &str) -> Self {
        let failed =
            Failed { at: Instant::now(), remote: "192.0.2.2".parse().expect("an address"), reason: reason.to_owned() };
        let wanted = self.policies.iter().find(|policy| policy.name == format!("c/{child}")).expect("a policy");
        let Action::Protect(policy) = wanted.action else { panic!("it protects") };
        let until = Some(Instant::now() + Duration::from_secs(30));
        self.shunts.push(Shunt { key: Key { policy, remote: None }, state: SaState::Failed, until });
        self.failures.insert(("c".to_owned(), Some(child.to_owned())), failed);
        self
    }
}

/// A flow as an operator writes it.
pub(crate) fn flow(text: &str) -> Flow {
    super::explain::flow(&text.split(' ').collect::<Vec<_>>()).expect("a flow")
}
