//! The test bed: two network namespaces joined by a veth, made for one peer's turn and removed after it.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::failure::{Context, Failure, Result};

/// Prefix of every namespace's name; the process id follows, so that leftovers can be told from what is in use.
const PREFIX: &str = "cygnet-bench-";
/// Name of either end of the link.
pub(crate) const WIRE: &str = "wire";

/// One of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// 1 or 2.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::A => 1,
            Self::B => 2,
        }
    }

    /// Its address on the link.
    pub(crate) fn outer(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number())
    }

    /// Its address inside the tunnel.
    pub(crate) fn inner(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.number(), 1)
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Bed {
    a: Namespace,
    b: Namespace,
    folder: PathBuf,
}

impl Bed {
    /// Makes it: addresses on the link, and the inner ones on the loopback devices.
    pub(crate) fn new() -> Result<Self> {
        let folder = folder();
        fs::create_dir_all(&folder).context(folder.display())?;
        let bed = Self { a: Namespace::new(Side::A)?, b: Namespace::new(Side::B)?, folder };
        bed.a.ip(&["link", "add", WIRE, "type", "veth", "peer", "name", WIRE, "netns", &bed.b.name])?;
        for side in Side::BOTH {
            let here = bed.namespace(side);
            here.ip(&["addr", "add", &format!("{}/24", side.outer()), "dev", WIRE])?;
            here.ip(&["link", "set", WIRE, "up"])?;
            here.ip(&["addr", "add", &format!("{}/32", side.inner()), "dev", "lo"])?;
            // No connection is to learn from those before it.
            here.open(|| fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1"))?;
        }
        Ok(bed)
    }

    pub(crate) fn namespace(&self, side: Side) -> &Namespace {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// A folder for the files of one side's daemon.
    pub(crate) fn folder(&self, side: Side) -> Result<PathBuf> {
        let folder = self.folder.join(side.letter());
        fs::create_dir_all(&folder).context(folder.display())?;
        Ok(folder)
    }

    /// Brings a TUN device up, and routes the other side's inner address into it.
    pub(crate) fn route(&self, side: Side, device: &str, mtu: Option<u16>) -> Result<()> {
        let here = self.namespace(side);
        let mtu = mtu.map(|mtu| mtu.to_string());
        let mut words = vec!["link", "set", device];
        words.extend(mtu.iter().flat_map(|mtu| ["mtu", mtu.as_str()]));
        words.push("up");
        here.ip(&words)?;
        let to = format!("{}/32", side.other().inner());
        here.ip(&["route", "add", &to, "dev", device, "src", &side.inner().to_string()]).map(drop)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()))
}

/// A network namespace, removed when dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    fn new(side: Side) -> Result<Self> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), side.letter());
        run(&["ip", "netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Runs an `ip` command in it.
    pub(crate) fn ip(&self, words: &[&str]) -> Result<String> {
        run(&[&["ip", "-n", &self.name], words].concat())
    }

    /// A command that runs in it, as the process that is started.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null());
        command
    }

    /// Does `work`, which opens sockets or sets what belongs to the network, in this namespace. A socket stays in the namespace that it was opened in,
    /// whoever uses it later.
    pub(crate) fn open<T: Send>(&self, work: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).context(&path)?;
        let work = move || {
            setns(file, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        thread::scope(|scope| scope.spawn(work).join())
            .map_err(|_| Failure("a thread in a namespace panicked".to_owned()))?
            .context("a socket or setting")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Ends what runs in a namespace of ours, and removes it.
fn remove(name: &str) {
    for pid in run(&["ip", "netns", "pids", name]).unwrap_or_default().split_whitespace() {
        let _ = run(&["kill", "-9", pid]);
    }
    // Removal also ends the links in it; a failure here means that it is gone already.
    let _ = run(&["ip", "netns", "delete", name]);
}

/// Removes what this process made; it can't go on.
pub(crate) fn abandon() {
    for side in Side::BOTH {
        remove(&format!("{PREFIX}{}-{}", std::process::id(), side.letter()));
    }
    let _ = fs::remove_dir_all(folder());
}

/// Removes what benchmarks left behind that were killed.
pub(crate) fn sweep() {
    for line in run(&["ip", "netns", "list"]).unwrap_or_default().lines() {
        let Some(name) = line.split_whitespace().next() else { continue };
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if let Some(pid) = owner
            && !Path::new("/proc").join(pid).exists()
        {
            remove(name);
        }
    }
}

/// Runs a command and returns what it wrote.
pub(crate) fn run(words: &[&str]) -> Result<String> {
    let (program, arguments) = words.split_first().context("no command")?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().context(program)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!("{}: {}", words.join(" "), text.trim())))
}
