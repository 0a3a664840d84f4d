//! What a gateway changes on its host while it runs: routes and rules; and what it keeps an eye on there.

use std::io;
use std::sync::Arc;

use cygnet_spd::Policies;

use super::Net;
use super::path_mtu::Keeper;
use super::routing::{self, Plan, Routing};
use crate::config::Gateway;

/// The host's side of a running gateway. Dropped without [`remove`](Host::remove), it leaves everything to the next
/// start, as a kill does.
#[derive(Debug)]
pub struct Host {
    routing: Routing,
    _keeper: Keeper,
}

/// Why the host can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Routes or rules.
    #[error("routes: {0}")]
    Routes(io::Error),
}

impl Host {
    /// Sets up what `policies` need. Inside a tokio runtime.
    ///
    /// # Errors
    /// See [`HostError`]. What was set up is removed again.
    pub async fn set_up(gateway: &Gateway, policies: &Policies, net: &Arc<dyn Net>) -> Result<Self, HostError> {
        let keeper = Keeper::spawn(Arc::clone(net), gateway.fwmark).map_err(HostError::Routes)?;
        let routing = Routing::install(plan(gateway, policies)).await.map_err(HostError::Routes)?;
        Ok(Self { routing, _keeper: keeper })
    }

    /// Changes over to other policies, by difference.
    ///
    /// # Errors
    /// See [`HostError`]. Another `apply` mends what was left half done.
    pub async fn apply(&mut self, gateway: &Gateway, policies: &Policies) -> Result<(), HostError> {
        self.routing.apply(plan(gateway, policies)).await.map_err(HostError::Routes)
    }

    /// Leaves the host as it was.
    pub async fn remove(self) {
        self.routing.remove().await;
    }
}

/// Removes what a gateway with this configuration left behind when it was killed. Inside a tokio runtime; not while
/// it runs.
///
/// # Errors
/// See [`HostError`].
pub async fn cleanup(gateway: &Gateway) -> Result<(), HostError> {
    routing::cleanup(gateway.route_table).await.map_err(HostError::Routes)
}

fn plan(gateway: &Gateway, policies: &Policies) -> Plan {
    Plan::new(&gateway.tun, gateway.route_table, gateway.fwmark, policies)
}
