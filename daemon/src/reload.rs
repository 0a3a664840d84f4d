//! Another configuration for a running gateway, without a packet lost and without an SA that has to be made again.
//!
//! ```text
//! 1  refuse what needs other sockets, another device or table       nothing has changed
//! 2  driver: SPD new + what is no longer protected passes; IKE new  SAs of what stays stay
//! 3  kernel: routes and filter by difference
//! 4  driver: SPD new                                                nothing is routed to us that it does not know
//! ```
//!
//! When step 3 fails, steps 2 and 3 are taken again with the configuration of before.

use std::collections::HashSet;
use std::future;

use cygnet_spd::{Action, Policies, Policy, Selector};
use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, PolicyNames};
use crate::handle::{Handle, Notice, Stopped, Terms};
use crate::net::{Host, HostError};

/// Why a gateway keeps the configuration that it has.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It can't be changed while the gateway runs.
    #[error("`{}` can't change while the gateway runs: restart it, or leave it as it was", .0.join("`, `"))]
    Restart(Vec<String>),
    /// The kernel refused; everything is as before.
    #[error("the host can't be changed: {0}; everything is as it was before")]
    Host(HostError),
    /// The kernel refused, and refused the way back, too.
    #[error("the host can't be changed ({0}), nor changed back ({1}): restart the gateway")]
    Torn(HostError, HostError),
    /// The gateway is gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What is asked: take over this configuration.
#[derive(Debug)]
pub(crate) struct Reload {
    pub(crate) config: Box<Config>,
    pub(crate) reply: oneshot::Sender<Result<(), ReloadError>>,
}

/// Carries out reloads, one after the other, and keeps what the gateway has in the kernel: what somebody else removes
/// there is put back, the filter at once, routes with the next reload.
pub(crate) struct Keeper {
    handle: Handle,
    names: PolicyNames,
    host: Option<Host>,
}

impl Keeper {
    /// Keeps `host`. The policies of the configuration of `handle` have their ids from `names`.
    pub(crate) fn new(handle: Handle, names: PolicyNames, host: Option<Host>) -> Self {
        Self { handle, names, host }
    }

    /// Works until `stop`, and hands back what has to be removed.
    pub(crate) async fn run(
        mut self,
        mut reloads: mpsc::Receiver<Reload>,
        mut stop: oneshot::Receiver<()>,
    ) -> Option<Host> {
        loop {
            let reload = tokio::select! {
                _ = &mut stop => return self.host,
                reload = reloads.recv() => reload,
                () = disturbed(&mut self.host) => {
                    if let Some(host) = &mut self.host {
                        host.restore().await;
                    }
                    continue;
                }
            };
            let Some(Reload { config, reply }) = reload else { return self.host };
            // Whoever asked may have gone away meanwhile.
            let _ = reply.send(self.reload(*config).await);
        }
    }

    async fn reload(&mut self, mut new: Config) -> Result<(), ReloadError> {
        let Self { handle, names, host } = self;
        let old = handle.config();
        names.adopt(&mut new);
        let fixed = old.needs_restart(&new);
        if !fixed.is_empty() {
            return Err(ReloadError::Restart(fixed));
        }
        tell(handle, &new, leaving(&old.policies, &new.policies)).await?;
        if let Some(host) = host
            && let Err(error) = host.apply(&new.gateway, &new.policies).await
        {
            tell(handle, &old, old.policies.clone()).await?;
            return Err(match host.apply(&old.gateway, &old.policies).await {
                Ok(()) => ReloadError::Host(error),
                Err(again) => ReloadError::Torn(error, again),
            });
        }
        tell(handle, &new, new.policies.clone()).await?;
        handle.store_config(new);
        handle.notify(Notice::Reloaded);
        Ok(())
    }
}

async fn disturbed(host: &mut Option<Host>) {
    match host {
        Some(host) => host.disturbed().await,
        None => future::pending().await,
    }
}

async fn tell(handle: &Handle, config: &Config, policies: Policies) -> Result<(), Stopped> {
    let (nat_keepalive, icmp_prohibited) = (config.gateway.nat_keepalive, config.gateway.icmp_prohibited);
    let terms = Terms { ike: config.ike.clone(), policies, nat_keepalive, icmp_prohibited };
    handle.take_over(terms).await
}

/// `new`, and behind it what only `old` protected: it still comes our way until its routes are gone, and passes as it
/// will then. Not where something new has a share in the destination: that stays steered, and is dropped.
fn leaving(old: &Policies, new: &Policies) -> Policies {
    let stay: HashSet<&Selector> = new.iter().map(|policy| &policy.selector).collect();
    let protects = |policy: &&Policy| matches!(policy.action, Action::Protect(_));
    let shares = |one: &Policy, other: &Policy| {
        let destinations = |policy: &Policy| policy.selector.remote.iter().map(|ts| ts.addresses).collect::<Vec<_>>();
        let theirs = destinations(other);
        destinations(one).iter().any(|range| theirs.iter().any(|other| range.intersect(other).is_some()))
    };
    let steered = |policy: &Policy| new.iter().filter(protects).any(|new| shares(new, policy));
    let gone = old.iter().filter(protects).filter(|old| !stay.contains(&old.selector) && !steered(old));
    let gone = gone.map(|policy| Policy { action: Action::Bypass, ..policy.clone() });
    Policies::new(new.iter().cloned().chain(gone).collect())
}

#[cfg(test)]
mod tests {
    use cygnet_spd::PolicyId;

    use super::*;

    fn policy(name: &str, remote: &str, action: Action) -> Policy {
        let side = |text: &str| vec![text.parse().expect("a selector")];
        let selector = Selector { local: side("0.0.0.0/0"), remote: side(remote) };
        Policy { name: name.to_owned(), selector, action, terms: cygnet_spd::Terms::default() }
    }

    #[test]
    fn what_is_no_longer_protected_passes_until_its_routes_are_gone() {
        let protect = |n| Action::Protect(PolicyId(n));
        let old = Policies::new(vec![
            policy("c/gone", "10.2.0.0/16", protect(0)),
            policy("c/stays", "10.3.0.0/16", protect(1)),
            policy("rest", "10.0.0.0/8", Action::Discard),
        ]);
        let new = Policies::new(vec![policy("c/stays", "10.3.0.0/16", protect(1))]);
        let between: Vec<_> = leaving(&old, &new).iter().map(|policy| (policy.name.clone(), policy.action)).collect();
        assert_eq!(between, [("c/stays".to_owned(), protect(1)), ("c/gone".to_owned(), Action::Bypass)]);
        assert_eq!(leaving(&new, &old), old, "nothing leaves");
    }

    #[test]
    fn what_stays_steered_does_not_pass() {
        let old = Policies::new(vec![
            policy("c/wide", "10.2.0.0/16", Action::Protect(PolicyId(0))),
            policy("c/part", "10.3.9.0/24", Action::Protect(PolicyId(1))),
            policy("c/gone", "10.4.0.0/16", Action::Protect(PolicyId(2))),
        ]);
        let new = Policies::new(vec![
            policy("open", "10.4.0.0/24", Action::Bypass),
            policy("c/within", "10.2.9.0/24", Action::Protect(PolicyId(3))),
            policy("c/around", "10.3.0.0/16", Action::Protect(PolicyId(4))),
        ]);
        let between = leaving(&old, &new);
        let names: Vec<_> = between.iter().map(|policy| &*policy.name).collect();
        assert_eq!(names, ["open", "c/within", "c/around", "c/gone"], "only what no new tunnel has a share in passes");
        assert!(between.iter().last().is_some_and(|policy| policy.action == Action::Bypass));
    }
}
