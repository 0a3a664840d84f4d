//! SAs that packets want: asked for, there, or not to be had.

use std::time::{Duration, Instant};

use cygnet_ike::{Command, Config, Failure};
use cygnet_sad::PairId;
use cygnet_spd::{Acquire, Action, Flow, Policy, PolicyId};

use super::Driver;
use crate::workers::Key;

/// What IKE calls the SAs of a policy.
#[derive(Debug)]
pub(crate) struct Wanted {
    connection: String,
    child: String,
    policy: PolicyId,
    /// Wait between attempts, first and longest.
    retry: (Duration, Duration),
}

impl Wanted {
    /// Every child of `config`.
    pub(crate) fn all(config: &Config) -> Vec<Self> {
        let of = |connection: &cygnet_ike::config::Connection, child: &cygnet_ike::config::Child| Self {
            connection: connection.name.clone(),
            child: child.name.clone(),
            policy: child.policy,
            retry: connection.retry,
        };
        config.connections.iter().flat_map(|c| c.children.iter().map(move |child| of(c, child))).collect()
    }

    /// Whether `failure` is that of its SA. What strangers fail at says nothing about the peer: it must not close the way
    /// to it, nor open the one in the clear.
    fn is_meant(&self, failure: &Failure) -> bool {
        !failure.by_stranger
            && failure.connection.as_deref() == Some(&self.connection)
            && failure.child.as_deref().is_none_or(|child| child == self.child)
    }
}

impl Driver {
    /// A packet has no SA.
    pub(super) fn acquire(&mut self, policy: PolicyId, flow: Flow) {
        let now = Instant::now();
        if self.path.sad.snapshot().outbound(policy, &flow).is_some() {
            // It came while the packet was put on hold.
            return self.releaser.after(now, || ());
        }
        let policies = self.path.policies.load();
        let asks = |found: &&Policy| found.action == Action::Protect(policy) && found.terms.acquire == Acquire::Packet;
        let Some(found) = policies.find(&flow).filter(asks) else {
            // The policies were replaced meanwhile: another decides about this flow, or none is brought up for it.
            return;
        };
        self.path.shunts.asked(Key::new(policy, &found.terms, flow.remote), now);
        self.endpoint.handle_command(super::now(), Command::Acquire { policy, flow });
    }

    /// A pair can be sent on since `change`.
    pub(super) fn up<R>(&mut self, pair: PairId, change: impl FnOnce() -> R) -> R {
        let path = &*self.path;
        self.releaser.after(Instant::now(), || {
            let result = change();
            if let Some(status) = path.sad.status(pair).filter(|status| status.pair.is_active()) {
                let remote = &status.pair.selector().remote;
                path.shunts.up(status.pair.policy(), |peer| remote.iter().any(|ts| ts.addresses.contains(peer)));
            }
            result
        })
    }

    /// A negotiation failed: those who wait for it are done with as their policies say.
    pub(super) fn failed(&mut self, failure: &Failure) {
        let (now, path, wanted) = (Instant::now(), &*self.path, &self.wanted);
        self.releaser.after(now, || {
            for wanted in wanted.iter().filter(|wanted| wanted.is_meant(failure)) {
                path.shunts.failed(wanted.policy, failure.path.remote.ip(), wanted.retry, now);
            }
        });
    }

    /// Those who waited too long wait no more.
    pub(super) fn give_up(&mut self) {
        let now = Instant::now();
        self.path.shunts.sweep(now);
        self.releaser.after(now, || ());
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use cygnet_ike::{FailureCause, Path};

    use super::*;

    #[test]
    fn only_our_own_negotiation_of_the_child_or_of_all_of_them_is_meant() {
        let wanted = Wanted {
            connection: "site".into(),
            child: "net".into(),
            policy: PolicyId(1),
            retry: (Duration::ZERO, Duration::ZERO),
        };
        let nowhere = (Ipv4Addr::UNSPECIFIED, 0).into();
        let failure = |connection: &str, child: Option<&str>, by_stranger| Failure {
            connection: Some(connection.into()),
            child: child.map(Into::into),
            ike: None,
            path: Path { local: nowhere, remote: nowhere, marker: false },
            cause: FailureCause::Timeout,
            offered: String::new(),
            wanted: String::new(),
            remedy: String::new(),
            by_stranger,
            repeated: false,
        };
        assert!(wanted.is_meant(&failure("site", Some("net"), false)));
        assert!(wanted.is_meant(&failure("site", None, false)));
        assert!(!wanted.is_meant(&failure("site", Some("other"), false)));
        assert!(!wanted.is_meant(&failure("elsewhere", None, false)));
        assert!(!wanted.is_meant(&failure("site", Some("net"), true)));
    }
}
