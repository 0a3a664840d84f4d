//! What a gateway changes on its host while it runs: routes, rules and the filter; and what it keeps an eye on there.

use std::future;
use std::io;
use std::sync::Arc;

use cygnet_spd::Policies;

use tokio::sync::mpsc;

use super::Net;
use super::filter::{self, Filter, NftError, Refusal, Watch};
use super::path_mtu::Keeper;
use super::routing::{self, Plan, Routing};
use crate::config::Gateway;

/// The host's side of a running gateway. Dropped without [`remove`](Host::remove), it leaves everything to the next
/// start, as a kill does.
#[derive(Debug)]
pub struct Host {
    routing: Routing,
    filter: Option<Filter>,
    refusals: Option<mpsc::Receiver<Refusal>>,
    /// A gateway that was killed had left something, which keeps shut what must be protected.
    inherits: bool,
    _keeper: Keeper,
}

/// Why the host can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Routes or rules.
    #[error("routes: {0}")]
    Routes(io::Error),
    /// The filter of what arrives in the clear.
    #[error("filter: {0}")]
    Filter(#[from] NftError),
}

impl Host {
    /// Sets up what `policies` need. Inside a tokio runtime.
    ///
    /// # Errors
    /// See [`HostError`]. [Given up](Self::give_up) then.
    pub async fn set_up(gateway: &Gateway, policies: &Policies, net: &Arc<dyn Net>) -> Result<Self, HostError> {
        let keeper = Keeper::spawn(Arc::clone(net), gateway.fwmark).map_err(HostError::Routes)?;
        let routing = Routing::open(plan(gateway, policies)).map_err(HostError::Routes)?;
        let inherits = routing.is_left_behind().await || filter::is_left_behind(gateway).await;
        let mut host = Self { routing, filter: None, refusals: None, inherits, _keeper: keeper };
        match host.install(gateway, policies).await {
            Ok(()) => Ok(host),
            Err(error) => {
                host.give_up().await;
                Err(error)
            }
        }
    }

    async fn install(&mut self, gateway: &Gateway, policies: &Policies) -> Result<(), HostError> {
        self.routing.install().await.map_err(HostError::Routes)?;
        if gateway.clear_filter {
            let (filter, refusals) = Filter::install(gateway, policies).await?;
            (self.filter, self.refusals) = (Some(filter), Some(refusals));
        } else {
            tracing::warn!(
                "`gateway.clear_filter` is off: what arrives in the clear is accepted, whatever the policies"
            );
            filter::cleanup(gateway).await?;
        }
        Ok(())
    }

    /// For a gateway that did not come to work: what a killed one had left stays shut, else nothing is left.
    pub async fn give_up(self) {
        if self.inherits {
            tracing::warn!("what an earlier gateway left behind stays, and keeps its networks shut");
            return;
        }
        self.remove().await;
    }

    /// Changes over to other policies, by difference.
    ///
    /// # Errors
    /// See [`HostError`]. Another `apply` mends what was left half done.
    pub async fn apply(&mut self, gateway: &Gateway, policies: &Policies) -> Result<(), HostError> {
        self.routing.apply(plan(gateway, policies)).await.map_err(HostError::Routes)?;
        if let Some(filter) = &mut self.filter {
            filter.apply(gateway, policies).await?;
        }
        Ok(())
    }

    /// Resolves when somebody else removed something of the filter.
    pub async fn disturbed(&mut self) {
        match &mut self.filter {
            Some(filter) => filter.disturbed().await,
            None => future::pending().await,
        }
    }

    /// Puts back what somebody else removed.
    pub async fn restore(&mut self) {
        let Some(filter) = &mut self.filter else { return };
        match filter.restore().await {
            Ok(()) => tracing::warn!("somebody removed the filter of what is in the clear: it is in place again"),
            Err(error) => {
                tracing::error!("somebody removed the filter of what is in the clear, and it is gone: {error}")
            }
        }
    }

    /// Reads what the filter counts, if there is one.
    pub fn watch(&self) -> Option<Watch> {
        self.filter.as_ref().map(Filter::watch)
    }

    /// The packets that the filter drops, a limited number of them: for the first who asks.
    pub fn refusals(&mut self) -> Option<mpsc::Receiver<Refusal>> {
        self.refusals.take()
    }

    /// Leaves the host as it was.
    pub async fn remove(self) {
        if let Some(filter) = self.filter {
            filter.remove().await;
        }
        self.routing.remove().await;
    }
}

/// Removes what a gateway with this configuration left behind when it was killed. Inside a tokio runtime; not while
/// it runs.
///
/// # Errors
/// See [`HostError`].
pub async fn cleanup(gateway: &Gateway) -> Result<(), HostError> {
    routing::cleanup(gateway.route_table).await.map_err(HostError::Routes)?;
    Ok(filter::cleanup(gateway).await?)
}

fn plan(gateway: &Gateway, policies: &Policies) -> Plan {
    Plan::new(&gateway.tun, gateway.route_table, gateway.fwmark, policies)
}
