//! Network namespaces: two hosts and the link between them.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::failure::{Context, Failure, Result, fail};
use crate::process::{command, sh};

/// Prefix of every namespace and container name; the harness's process id follows, so that leftovers can be told
/// from what a running harness owns.
pub(crate) const PREFIX: &str = "cygnet-interop-";

/// Set when everything is being cleared away: what cases make from then on would stay.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// No namespace is made from now on.
pub(crate) fn close() {
    CLOSED.store(true, Ordering::SeqCst);
}

/// A network namespace, removed when dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes an empty namespace with its loopback up.
    pub(crate) fn new(name: &str) -> Result<Self> {
        if CLOSED.load(Ordering::SeqCst) {
            fail!("the run is over");
        }
        sh(&["ip", "netns", "add", name])?;
        let namespace = Self { name: name.to_owned() };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its file.
    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Runs an `ip` command in it.
    pub(crate) fn ip(&self, words: &[&str]) -> Result<String> {
        sh(&[&["ip", "-n", &self.name], words].concat())
    }

    /// A command that runs in it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        command(&[&["ip", "netns", "exec", &self.name], words].concat())
    }

    /// Runs `work` on a thread of its own whose sockets belong to this namespace.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<thread::JoinHandle<Result<T>>> {
        let path = self.path();
        let file = File::open(&path).context(&path)?;
        Ok(thread::spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).context("setns")?;
            work()
        }))
    }

    /// As [`Namespace::spawn`], and waits for the result.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        self.spawn(work)?.join().map_err(|_| Failure::new("a thread in a namespace panicked"))?
    }

    /// Everything a program may have left in the network: links, rules, routes and filters, one per line.
    pub(crate) fn footprint(&self) -> Result<String> {
        let mut text = String::new();
        for words in [
            &["-o", "link"][..],
            &["-o", "addr"],
            &["rule"],
            &["-6", "rule"],
            &["route", "show", "table", "all"],
            &["-6", "route", "show", "table", "all"],
        ] {
            text += &self.ip(words)?;
        }
        text += &sh(&["ip", "netns", "exec", &self.name, "nft", "list", "ruleset"])?;
        Ok(text)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Kills what runs in a namespace and removes it.
pub(crate) fn remove(name: &str) {
    for pid in sh(&["ip", "netns", "pids", name]).unwrap_or_default().split_whitespace() {
        let _ = sh(&["kill", "-9", pid]);
    }
    // Removal also ends the links in it; a failure here means that it is gone already.
    let _ = sh(&["ip", "netns", "delete", name]);
}

/// Names of all namespaces that this or an earlier harness made.
pub(crate) fn all() -> Vec<String> {
    let list = sh(&["ip", "netns", "list"]).unwrap_or_default();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect()
}

/// Joins two namespaces by a link, and names its ends.
pub(crate) fn connect(a: (&Namespace, &str), b: (&Namespace, &str)) -> Result<()> {
    a.0.ip(&["link", "add", a.1, "type", "veth", "peer", "name", b.1, "netns", b.0.name()])?;
    for (namespace, link) in [a, b] {
        namespace.ip(&["link", "set", link, "up"])?;
    }
    Ok(())
}
