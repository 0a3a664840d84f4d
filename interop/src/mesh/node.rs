//! A node of a mesh: its network, its configuration, its daemon.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::net::address;
use crate::control::Control;
use crate::failure::{Context, Result, fail};
use crate::namespace::Namespace;
use crate::process::{self, Process, until};

/// A node that runs Cygnet, or nothing.
#[derive(Debug)]
pub(super) struct Node {
    // Dropped first: the daemon goes before its network.
    running: Option<Process>,
    /// Its number, from 1 on.
    pub(super) number: u8,
    /// Its network.
    pub(super) namespace: Namespace,
    /// Its control socket.
    pub(super) control: Control,
    folder: PathBuf,
    daemon: PathBuf,
}

impl Node {
    /// A node that runs nothing yet.
    pub(super) fn new(number: u8, namespace: Namespace, folder: PathBuf, daemon: &Path) -> Result<Self> {
        fs::create_dir_all(&folder).context(folder.display())?;
        let control = Control::unix(&folder.join("vici.sock"));
        Ok(Self { running: None, number, namespace, control, folder, daemon: daemon.to_owned() })
    }

    /// Its address.
    pub(super) fn address(&self) -> IpAddr {
        address(self.number)
    }

    /// Writes a file that its owner alone may read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.folder.join(name);
        fs::write(&file, text).context(file.display())?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).context(name)
    }

    /// Writes its configuration; the control socket is added.
    pub(super) fn configure(&self, gateway: &str, rest: &str) -> Result<()> {
        let socket = self.folder.join("vici.sock");
        self.write("cygnet.toml", &format!("[gateway]\ncontrol = \"{}\"\n{gateway}\n{rest}", socket.display()))
    }

    /// Starts its daemon and waits until it can be controlled.
    pub(super) fn start(&mut self) -> Result<()> {
        let socket = self.folder.join("vici.sock");
        let _ = fs::remove_file(&socket);
        let config = self.folder.join("cygnet.toml");
        let words = [&*self.daemon.to_string_lossy(), "run", "--config", &config.to_string_lossy()];
        let mut command = self.namespace.command(&words);
        command.env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
        self.running = Some(Process::logged(&mut command, &self.folder.join("log"))?);
        until(&format!("the control socket of node {}", self.number), Duration::from_secs(15), || {
            (self.control.answers() || self.must_run().is_err()).then_some(())
        })?;
        self.must_run()
    }

    /// Our own command line, against its socket; gives its standard output.
    pub(super) fn cygnet(&self, words: &[&str]) -> Result<String> {
        let socket = self.folder.join("vici.sock").display().to_string();
        let mut command = self.namespace.command(&[&[&*self.daemon.to_string_lossy()], words].concat());
        command.args(["--socket", &socket]).env("NO_COLOR", "1");
        process::run(&mut command, Duration::from_secs(20))
    }

    /// As [`Self::cygnet`], for its configuration instead of its socket.
    pub(super) fn cygnet_offline(&self, words: &[&str]) -> Result<String> {
        let config = self.folder.join("cygnet.toml").display().to_string();
        let mut command = self.namespace.command(&[&[&*self.daemon.to_string_lossy()], words].concat());
        command.args(["--config", &config]).env("NO_COLOR", "1");
        process::run(&mut command, Duration::from_secs(20))
    }

    /// Starts its daemon where `nft` takes no rules: it must say so and end.
    pub(super) fn fails_without_filter(&self) -> Result<()> {
        let tools = self.folder.join("tools");
        fs::create_dir_all(&tools).context(tools.display())?;
        let nft = tools.join("nft");
        fs::write(&nft, "#!/bin/sh\n[ \"$1\" != -f ] && exec /usr/sbin/nft \"$@\"\necho refused >&2\nexit 1\n")
            .context(nft.display())?;
        fs::set_permissions(&nft, fs::Permissions::from_mode(0o755)).context(nft.display())?;
        let config = self.folder.join("cygnet.toml");
        let words = [&*self.daemon.to_string_lossy(), "run", "--config", &config.to_string_lossy()];
        let mut command = self.namespace.command(&words);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("NO_COLOR", "1").env("PATH", format!("{}:{path}", tools.display()));
        let finished = process::finish(&mut command, Duration::from_secs(15))?;
        if finished.status.success() { fail!("a gateway runs without its filter") } else { Ok(()) }
    }

    /// Fails if its daemon has died.
    pub(super) fn must_run(&mut self) -> Result<()> {
        let runs = self.running.as_mut().is_some_and(Process::is_running);
        if runs { Ok(()) } else { fail!("the daemon of node {} died", self.number) }
    }

    /// Ends its daemon in good order.
    pub(super) fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.running.take() else { return Ok(()) };
        let status = process.stop(Duration::from_secs(10))?;
        if status.success() { Ok(()) } else { fail!("the daemon of node {} ended with {status}", self.number) }
    }

    /// Ends its daemon without a word to anyone (SIGKILL).
    pub(super) fn kill(&mut self) {
        drop(self.running.take());
    }

    /// Whether `to` answers a ping, once, within a second.
    pub(super) fn reaches(&self, to: IpAddr) -> bool {
        let words = ["ping", "-n", "-q", "-c", "1", "-W", "1", &to.to_string()];
        let finished = process::finish(&mut self.namespace.command(&words), Duration::from_secs(5));
        finished.is_ok_and(|finished| finished.status.success())
    }
}
