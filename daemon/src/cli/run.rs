//! Commands that need no running daemon.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use cygnet_ike::config::Connection;
use cygnet_spd::TrafficSelector;
use miette::{IntoDiagnostic, Report, WrapErr};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::{client_runtime, print};
use crate::config::{self, Config};
use crate::handle::Handle;
use crate::runtime::Gateway;
use crate::{control, narrate, net};

/// Runs the gateway until it is told to stop.
pub(super) fn run(path: &Path) -> Result<(), Report> {
    let config = config::load(path)?;
    config.warnings.iter().for_each(|warning| warn!("{}: {warning}", path.display()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().into_diagnostic()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Report> {
    let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
    let mut terminate = signal(SignalKind::terminate()).into_diagnostic()?;
    let mut hang_up = signal(SignalKind::hangup()).into_diagnostic()?;
    let path = &config.gateway.control.clone();
    let connections = config.ike.connections.len();
    let listener = control::bind(path, config.gateway.control_mode)
        .into_diagnostic()
        .wrap_err_with(|| format!("the control socket {} can't be opened", path.display()))?;
    let mut gateway = Gateway::start(config).await.inspect_err(|_| drop(std::fs::remove_file(path)))?;
    let handle = gateway.handle();
    let log = tokio::spawn(narrate::log(gateway.events()));
    let control = tokio::spawn(control::serve(listener, handle.clone()));
    info!(control = %path.display(), connections, "running");
    let mut outcome = Ok(());
    loop {
        tokio::select! {
            _ = interrupt.recv() => info!("interrupted: deleting SAs"),
            _ = terminate.recv() => info!("told to terminate: deleting SAs"),
            _ = hang_up.recv() => {
                reload(&handle).await;
                continue;
            }
            ended = gateway.stopped() => match ended {
                Ok(()) => info!("the gateway ended"),
                Err(broken) => {
                    error!("{broken}: stopping");
                    outcome = Err(broken.into());
                }
            },
        }
        break;
    }
    match outcome {
        Ok(()) => gateway.shutdown().await,
        Err(_) => gateway.abandon().await,
    }
    let _ = log.await;
    let _ = control.await;
    let _ = std::fs::remove_file(path);
    info!("stopped");
    outcome
}

/// On SIGHUP. Whoever sent it reads the outcome in the log.
async fn reload(handle: &Handle) {
    match handle.reload_file().await {
        Ok(warnings) => warnings.iter().for_each(|warning| warn!("{warning}")),
        Err(report) => error!("the configuration stays as it was: {report:?}"),
    }
}

/// Removes what a gateway with this configuration left behind when it was killed.
pub(super) fn cleanup(path: &Path) -> Result<(), Report> {
    let config = config::load(path)?;
    let control = &config.gateway.control;
    if std::os::unix::net::UnixStream::connect(control).is_ok() {
        return Err(miette::miette!(
            help = "stop it first; a gateway that stops cleans up itself",
            "a gateway is running: it listens at {}",
            control.display()
        ));
    }
    client_runtime()?.block_on(net::cleanup(&config.gateway)).into_diagnostic()?;
    if std::fs::symlink_metadata(control).is_ok_and(|about| about.file_type().is_socket()) {
        let _ = std::fs::remove_file(control);
    }
    print(format_args!("nothing of a gateway is left: table {}, rules and filters", config.gateway.route_table))
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
