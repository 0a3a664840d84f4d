//! A peer's process, and what the system says about it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::bed::Namespace;
use crate::failure::{Context, Failure, Result};

/// How long it may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

/// Memory of a process, MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: f64,
    /// Resident at most.
    pub(crate) peak: f64,
}

impl Daemon {
    /// Starts it; what it writes goes to a file in `folder`. `ip netns exec` becomes the program that it starts, so
    /// that the process is the daemon itself.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join("output");
        let file = File::create(&log).context(log.display())?;
        let second = file.try_clone().context(log.display())?;
        let child = command.stdout(file).stderr(second).spawn().context("starting a daemon")?;
        Ok(Self { child, log })
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).context(path)
    }

    /// Processor time of all its threads so far, seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let text = self.proc("stat")?;
        // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15 (proc(5)).
        let (_, fields) = text.rsplit_once(')').context("stat has no name")?;
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        let second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        Ok(ticks as f64 / second as f64)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let text = self.proc("status")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
            kibibytes.map(|kibibytes| kibibytes / 1024.0).context(name)
        };
        Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Fails if it has ended, with the last that it wrote.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().context("waiting")? {
            None => Ok(()),
            Some(status) => Err(Failure(format!("it ended ({status}): {}", self.last_words()))),
        }
    }

    /// Waits until it has made a network device.
    pub(crate) fn wait_for_device(&mut self, namespace: &Namespace, device: &str) -> Result<()> {
        let begun = Instant::now();
        while let Err(error) = namespace.ip(&["link", "show", device]) {
            self.check()?;
            if begun.elapsed() > PATIENCE {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The end of what it wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(4).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let begun = Instant::now();
        while begun.elapsed() < FAREWELL {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
