//! Commands for the running daemon.

use std::path::Path;

use miette::{Report, miette};

use super::{client_runtime, print, table};
use crate::control::client::{CallError, Client};
use crate::control::vici::Message;

pub(super) fn status(socket: &Path, json: bool) -> Result<(), Report> {
    let (stats, sas, connections) = client_runtime()?.block_on(async {
        let mut client = connect(socket).await?;
        let stats = client.call("stats", Message::new(), |_, _| {}).await.map_err(failed)?;
        client.register("list-sa").await.map_err(failed)?;
        let mut sas = Vec::new();
        client.call("list-sas", Message::new(), |_, event| sas.push(event)).await.map_err(failed)?;
        client.register("list-conn").await.map_err(failed)?;
        let mut connections = Vec::new();
        client.call("list-conns", Message::new(), |_, event| connections.push(event)).await.map_err(failed)?;
        Ok::<_, Report>((stats, sas, connections))
    })?;
    match json {
        true => print(format_args!("{:#}", table::json(&stats, &sas, &connections))),
        false => print(format_args!("{}", table::people(&stats, &sas, &connections))),
    }
}

pub(super) fn up(socket: &Path, name: &str, timeout: Option<u32>) -> Result<(), Report> {
    act(socket, "initiate", target(name, timeout))?;
    print(format_args!("{name} is up"))
}

pub(super) fn down(socket: &Path, name: &str, timeout: Option<u32>, force: bool) -> Result<(), Report> {
    let arguments = target(name, timeout);
    let arguments = if force { arguments.with("force", "yes") } else { arguments };
    act(socket, "terminate", arguments)?;
    print(format_args!("{name} is down"))
}

pub(super) fn reload(socket: &Path) -> Result<(), Report> {
    let answer = client_runtime()?.block_on(async {
        let mut client = connect(socket).await?;
        client.call("reload", Message::new(), |_, _| {}).await.map_err(failed)
    })?;
    answer.list("warnings").iter().try_for_each(|warning| print(format_args!("warning: {warning}")))?;
    print(format_args!("reloaded"))
}

/// `CONNECTION` or `CONNECTION/CHILD`.
fn target(name: &str, timeout: Option<u32>) -> Message {
    let message = match name.split_once('/') {
        Some((connection, child)) => Message::new().with("ike", connection).with("child", child),
        None => Message::new().with("ike", name),
    };
    match timeout {
        Some(seconds) => message.with("timeout", u64::from(seconds) * 1000),
        None => message,
    }
}

/// Runs a command and shows what happens meanwhile.
fn act(socket: &Path, command: &str, arguments: Message) -> Result<(), Report> {
    client_runtime()?.block_on(async {
        let mut client = connect(socket).await?;
        client.register("control-log").await.map_err(failed)?;
        let show = |_: &str, line: Message| {
            eprintln!("[{}] {}", line.text("group").unwrap_or("DMN"), line.text("msg").unwrap_or_default());
        };
        client.call(command, arguments, show).await.map_err(failed)?;
        Ok(())
    })
}

pub(super) async fn connect(socket: &Path) -> Result<Client, Report> {
    Client::connect(socket).await.map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "run this as root, or as a member of the socket's group",
            _ => "is the daemon running (`cygnet run`)? If its `control` path is another one, name it with --socket",
        };
        miette!(help = remedy, "no connection to the control socket {}: {error}", socket.display())
    })
}

pub(super) fn failed(error: CallError) -> Report {
    miette!("{error}")
}
