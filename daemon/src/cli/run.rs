//! Commands that need no running daemon.

use std::path::Path;
use std::sync::Arc;

use cygnet_ike::config::Connection;
use cygnet_spd::TrafficSelector;
use miette::{IntoDiagnostic, Report, WrapErr};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::print;
use crate::config::{self, Config};
use crate::runtime::Gateway;
use crate::{control, narrate};

/// Runs the gateway until it is told to stop.
pub(super) fn run(path: &Path) -> Result<(), Report> {
    let config = Arc::new(config::load(path)?);
    config.warnings.iter().for_each(|warning| warn!("{}: {warning}", path.display()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().into_diagnostic()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Arc<Config>) -> Result<(), Report> {
    let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
    let mut terminate = signal(SignalKind::terminate()).into_diagnostic()?;
    let path = &config.gateway.control;
    let listener = control::bind(path, config.gateway.control_mode)
        .into_diagnostic()
        .wrap_err_with(|| format!("the control socket {} can't be opened", path.display()))?;
    let mut gateway = Gateway::start((*config).clone()).await.inspect_err(|_| drop(std::fs::remove_file(path)))?;
    let handle = gateway.handle();
    let log = tokio::spawn(narrate::log(handle.clone()));
    let control = tokio::spawn(control::serve(listener, handle, config.clone()));
    info!(control = %path.display(), connections = config.ike.connections.len(), "running");
    let mut outcome = Ok(());
    tokio::select! {
        _ = interrupt.recv() => info!("interrupted: deleting SAs"),
        _ = terminate.recv() => info!("told to terminate: deleting SAs"),
        ended = gateway.stopped() => match ended {
            Ok(()) => info!("the gateway ended"),
            Err(broken) => {
                error!("{broken}: stopping");
                outcome = Err(broken.into());
            }
        },
    }
    gateway.shutdown().await;
    let _ = log.await;
    let _ = control.await;
    let _ = std::fs::remove_file(path);
    info!("stopped");
    outcome
}

/// Reads a configuration and says what it means.
pub(super) fn check(path: &Path) -> Result<(), Report> {
    let config = config::load(path)?;
    print(format_args!("{} is correct", path.display()))?;
    for connection in &config.ike.connections {
        let Connection { name, local, peer, .. } = &**connection;
        print(format_args!("  connection {name}: {} to {}", local.id, peer.id))?;
        for child in &connection.children {
            let list = |ts: &[TrafficSelector]| ts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            print(format_args!("    child {}: {} === {}", child.name, list(&child.local_ts), list(&child.remote_ts)))?;
        }
    }
    config.warnings.iter().try_for_each(|warning| print(format_args!("  warning: {warning}")))
}
