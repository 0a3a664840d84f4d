//! One side of a case: a host (a network namespace, or a guest) and the IKE daemon that runs on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::addresses::inner;
use crate::control::Control;
use crate::engine::{Container, Engine};
use crate::failure::{Context, Result, fail};
use crate::guest::{self, Lease};
use crate::namespace::Namespace;
use crate::process::{self, Process, until};
use crate::scenario::{Outer, Who};

/// What a side runs, and where.
#[derive(Debug)]
pub(crate) enum Program {
    /// Cygnet: the path of its binary.
    Cygnet(PathBuf, Namespace),
    /// strongSwan in a container: the image.
    Container(String, Namespace),
    /// strongSwan in a guest.
    Guest(Lease),
}

#[derive(Debug)]
enum Running {
    /// Our daemon, or what stands for a program in a guest.
    Process(Process),
    Container(Container),
}

/// A host.
#[derive(Debug)]
pub(crate) struct Side {
    // Dropped first: the daemon goes before its network.
    running: Option<Running>,
    /// What it runs, and where.
    pub(crate) program: Program,
    /// Which.
    pub(crate) who: Who,
    /// Its control socket.
    pub(crate) control: Control,
    /// Its files: configuration, secrets, log.
    pub(crate) folder: PathBuf,
    starts: u32,
}

impl Side {
    /// A host that is not running anything yet, its inner addresses up.
    pub(crate) fn new(who: Who, folder: PathBuf, program: Program) -> Result<Self> {
        fs::create_dir_all(folder.join("keys")).context(folder.display())?;
        let control = match &program {
            Program::Guest(guest) => Control::tcp(guest.namespace(), guest::CONTROL),
            Program::Cygnet(..) | Program::Container(..) => Control::unix(&folder.join("vici.sock")),
        };
        let side = Self { who, control, folder, program, running: None, starts: 0 };
        side.ip(&["addr", "add", &format!("{}/32", inner(who, Outer::V4)), "dev", "lo"])?;
        side.ip(&["addr", "add", &format!("{}/128", inner(who, Outer::V6)), "dev", "lo"])?;
        Ok(side)
    }

    /// The network namespace whose link `outer` carries all that it sends; its daemon runs there, unless in a guest.
    pub(crate) fn namespace(&self) -> &Namespace {
        match &self.program {
            Program::Cygnet(_, namespace) | Program::Container(_, namespace) => namespace,
            Program::Guest(guest) => guest.namespace(),
        }
    }

    /// A command that runs on it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        match &self.program {
            Program::Cygnet(_, namespace) | Program::Container(_, namespace) => namespace.command(words),
            Program::Guest(guest) => guest.command(words),
        }
    }

    /// Runs an `ip` command on it.
    pub(crate) fn ip(&self, words: &[&str]) -> Result<String> {
        process::run(&mut self.command(&[&["ip"], words].concat()), Duration::from_secs(30))
    }

    /// Joins it to the link `outer` of its namespace, where that is not the same.
    pub(crate) fn join_link(&self) -> Result<()> {
        if let Program::Guest(guest) = &self.program { guest.join_link() } else { Ok(()) }
    }

    /// The log of its daemon.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Starts its daemon and waits until it can be controlled.
    pub(crate) fn start(&mut self, engine: &Engine) -> Result<()> {
        self.starts += 1;
        // A killed daemon leaves its socket, which must not be taken for the new one's.
        let _ = fs::remove_file(self.folder.join("vici.sock"));
        self.running = Some(match &self.program {
            Program::Cygnet(binary, namespace) => {
                let (binary, config) = (binary.to_string_lossy(), self.folder.join("cygnet.toml"));
                let words = [&*binary, "run", "--config", &config.to_string_lossy()];
                let mut command = namespace.command(&words);
                command.env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
                Running::Process(Process::logged(&mut command, &self.log())?)
            }
            Program::Container(image, namespace) => {
                let name = format!("{}-{}", namespace.name(), self.starts);
                Running::Container(engine.start(&name, image, namespace, &self.folder)?)
            }
            Program::Guest(guest) => {
                let variable = |name, path: &Path| format!("{name}={}", path.display());
                let conf = variable("STRONGSWAN_CONF", &self.folder.join("strongswan.conf"));
                let words = ["env", &conf, &variable("SWANCTL_DIR", &self.folder), "/usr/sbin/charon-systemd"];
                Running::Process(Process::logged(&mut guest.command(&words), &self.folder.join("output"))?)
            }
        });
        until(&format!("the control socket of {}", self.who.label()), Duration::from_secs(15), || {
            (self.control.answers() || self.must_run().is_err()).then_some(())
        })?;
        self.must_run()?;
        if self.is_cygnet() { Ok(()) } else { self.load() }
    }

    /// Makes strongSwan read its configuration again.
    pub(crate) fn load(&self) -> Result<()> {
        let load = ["swanctl", "--load-all", "--clear", "--uri", self.control.uri()];
        let text = match (&self.program, &self.running) {
            (_, Some(Running::Container(container))) => container.exec(&load)?,
            (Program::Guest(guest), _) => {
                let directory = format!("SWANCTL_DIR={}", self.folder.display());
                process::run(&mut guest.command(&[&["env", &directory], &load[..]].concat()), Duration::from_secs(30))?
            }
            _ => fail!("only strongSwan is loaded"),
        };
        if text.contains("failed") { fail!("swanctl --load-all: {text}") } else { Ok(()) }
    }

    /// Its container.
    ///
    /// # Errors
    /// When it runs none.
    pub(crate) fn container(&self) -> Result<&Container> {
        match &self.running {
            Some(Running::Container(container)) => Ok(container),
            _ => fail!("{} is not a running container", self.who.label()),
        }
    }

    /// Whether this side runs Cygnet.
    pub(crate) fn is_cygnet(&self) -> bool {
        matches!(self.program, Program::Cygnet(..))
    }

    /// Ends its daemon without a word to anyone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        match self.running.take() {
            Some(Running::Container(container)) => container.kill(),
            Some(Running::Process(process)) => {
                drop(process);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Ends its daemon in good order.
    pub(crate) fn stop(&mut self) -> Result<Option<ExitStatus>> {
        match self.running.take() {
            Some(Running::Container(container)) => container.stop().map(|()| None),
            Some(Running::Process(mut process)) => process.stop(Duration::from_secs(10)).map(Some),
            None => Ok(None),
        }
    }

    /// Resident memory of our daemon, KiB.
    ///
    /// # Errors
    /// When it does not run any more: a daemon that died is what this finds, too.
    pub(crate) fn memory(&mut self) -> Result<u64> {
        let Some(Running::Process(process)) = &mut self.running else { fail!("not a process of ours") };
        if !process.is_running() {
            fail!("our daemon died");
        }
        let status = format!("/proc/{}/status", process.id());
        let text = fs::read_to_string(&status).context(&status)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        line.trim().trim_end_matches(" kB").parse().context("VmRSS")
    }

    /// Fails if our daemon has died.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        if let Some(Running::Process(process)) = &mut self.running
            && !process.is_running()
        {
            fail!("our daemon died");
        }
        Ok(())
    }
}
