//! Processes and namespaces: who starts whom, in which namespace, and how all of it ends.
//!
//! The command starts host a, host a starts host b; both unshare. A host dies with its parent, and its namespaces
//! with it.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getgid, getuid};

use super::setup::Secrets;
use super::{DemoError, Side, host, report};

/// The hidden command of [`super::host`].
const COMMAND: &str = "demo-host";
/// Exit code of a host that could not have its namespace.
const UNAVAILABLE: u8 = 77;

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything was shown.
    Done,
    /// There are no namespaces here.
    Unavailable,
}

/// Starts host a and waits for it.
pub(super) fn run(secrets: &Secrets) -> Result<Outcome, DemoError> {
    let failed = |error: io::Error| DemoError::new("host a could not be started", error);
    let mut child = spawn(Side::A, secrets, Stdio::inherit()).map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    match status.code() {
        Some(0) => Ok(Outcome::Done),
        Some(code) if code == i32::from(UNAVAILABLE) => Ok(Outcome::Unavailable),
        _ => Err(DemoError::new("host a failed", status)),
    }
}

/// This program as host `side`, its secrets in the first line of its standard input.
fn spawn(side: Side, secrets: &Secrets, stdout: Stdio) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(COMMAND).arg(side.letter()).stdin(Stdio::piped()).stdout(stdout);
    let mut child = command.spawn()?;
    if let Some(stdin) = &mut child.stdin {
        serde_json::to_writer(&mut *stdin, secrets)?;
        stdin.write_all(b"\n")?;
    }
    Ok(child)
}

/// Is host `side`, from beginning to end.
pub(super) fn be(side: Side) -> ExitCode {
    // If the parent dies in whatever way, so do we.
    let _ = set_pdeathsig(Signal::SIGKILL);
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let secrets: Secrets = match read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str(&line).map_err(|error| error.to_string()))
    {
        Ok(secrets) => secrets,
        Err(error) => return complain(side, &format!("this command is for `cygnet demo`: {error}")),
    };
    if let Err(reason) = isolate(side) {
        println!("  {reason}");
        return ExitCode::from(UNAVAILABLE);
    }
    // Again: entering a user namespace takes it back.
    let _ = set_pdeathsig(Signal::SIGKILL);
    let result = match side {
        Side::A => with_peer(&secrets),
        Side::B => {
            println!("ready");
            block_on(host::follow(&secrets))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(side, &error.to_string()),
    }
}

fn complain(side: Side, what: &str) -> ExitCode {
    eprintln!("host {}: {what}", side.letter());
    ExitCode::FAILURE
}

/// Host a with its host b: starts it, waits until it is in its namespace, shows what it prints.
fn with_peer(secrets: &Secrets) -> Result<(), DemoError> {
    let failed = |error: io::Error| DemoError::new("host b could not be started", error);
    let mut peer = spawn(Side::B, secrets, Stdio::piped()).map_err(failed)?;
    let mut lines = BufReader::new(peer.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?).lines();
    if lines.next().transpose().map_err(failed)?.as_deref() != Some("ready") {
        return Err(DemoError::new("host b has no namespace", "see above"));
    }
    report::step("two hosts in network namespaces, joined by a virtual wire");
    let result = block_on(host::lead(secrets, peer.id()));
    if result.is_err() {
        let _ = peer.kill();
    }
    for line in lines.map_while(Result::ok) {
        println!("{line}");
    }
    let status = peer.wait().map_err(failed)?;
    result?;
    if status.success() { Ok(()) } else { Err(DemoError::new("host b failed", status)) }
}

fn block_on(future: impl Future<Output = Result<(), DemoError>>) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| DemoError::new("no threads", error))?;
    let result = runtime.block_on(future);
    // A thread may still wait for standard input or a connection: the end of the process ends it.
    runtime.shutdown_background();
    result
}

/// Leaves for a network namespace of its own; host a as an ordinary user first for a user namespace, which host b
/// inherits. The process has one thread so far, as a user namespace demands.
fn isolate(side: Side) -> Result<(), String> {
    let tun = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    tun.map_err(|error| format!("/dev/net/tun can't be opened ({error})"))?;
    if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    if side == Side::B {
        return Err("a second network namespace was refused".to_owned());
    }
    let (user, group) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("neither network nor user namespaces are allowed here ({error})"))?;
    let map = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("/proc/self/{file}: {error}"))
    };
    map("setgroups", "deny".to_owned())?;
    map("uid_map", format!("0 {user} 1"))?;
    map("gid_map", format!("0 {group} 1"))
}
