//! Guests: User-mode Linux kernels, each a process in a network namespace, that run strongSwan over their own ESP.
//!
//! ```text
//! namespace of the guest:   outer (veth, one per case) ── bridge ── guest (TAP) ══ outer ┐
//!                                             169.254.77.1/30, manage (TAP) ══ manage ┘ the guest
//! ```
//! The guest's root file system is that of strongSwan's image, through hostfs and read-only; the run's folder is
//! shared at its own path. Programs in it are run through [`crate::remote`].

mod pool;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(crate) use pool::{Lease, Pool};

use crate::failure::{Context, Result, fail};
use crate::namespace::{Namespace, PREFIX};
use crate::process::{self, Process, command, until};

/// The link for programs' output, host and guest.
const HOST: &str = "169.254.77.1/30";
const GUEST: &str = "169.254.77.2/30";
/// Where the agent listens; charon's control socket is beside it.
const AGENT: &str = "169.254.77.2:7296";
/// Where a charon in a guest is controlled.
pub(crate) const CONTROL: &str = "169.254.77.2:4502";
/// Megabytes of a guest.
const MEMORY: u32 = 192;
/// A guest boots in two to fourteen seconds.
const BOOT: Duration = Duration::from_secs(90);
/// Where Debian's package keeps the modules, in a folder per version.
const MODULES: &str = "/usr/lib/uml/modules";
/// First process, and its path in the root file system.
const INIT: &str = include_str!("guest/init.sh");
const INIT_PATH: &str = "usr/sbin/guest-init";
/// Clears what a case left, or nothing after booting. The rules and routes are those that a killed charon leaves.
/// Neighbour discovery stays in the clear: hosts that protect all between them would not find each other's links.
const RESET: &str = "ip link set outer down; ip addr flush dev outer; ip addr flush dev lo scope global
ip xfrm state flush; ip xfrm policy flush
for family in -4 -6; do
    ip $family route flush table 220; while ip $family rule del pref 220; do :; done; ip $family route flush cache
done 2>/dev/null
for type in 133 134 135 136 137; do for dir in in out; do
    ip xfrm policy add src ::/0 dst ::/0 proto ipv6-icmp type $type dir $dir priority 1
done; done
ip link set outer mtu 1500 up";

/// A running guest; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    // Dropped first: the kernel goes before its links.
    kernel: Process,
    namespace: Namespace,
    tool: String,
}

/// Makes an unpacked image ready to be guests' root: `shared` is the folder that they will see at its own path.
fn prepare_root(root: &Path, shared: &Path) -> Result<()> {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    for folder in [below(shared), root.join("usr/lib/modules")] {
        fs::create_dir_all(&folder).context(folder.display())?;
    }
    let init = root.join(INIT_PATH);
    fs::write(&init, INIT).context(init.display())?;
    fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).context(init.display())
}

impl Guest {
    /// Boots guest `number` of this run. `shared` holds this harness's own binary as `tool`.
    fn boot(number: usize, root: &Path, shared: &Path) -> Result<Self> {
        let name = format!("{PREFIX}{}-guest{number}", std::process::id());
        let namespace = Namespace::new(&name)?;
        // Nothing of the namespace itself may be on the link: it only joins the guest to the case.
        for setting in ["net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/default/disable_ipv6"] {
            let words = ["sh", "-c", &format!("echo 1 > /proc/sys/{setting}")];
            process::run(&mut namespace.command(&words), Duration::from_secs(5))?;
        }
        for tap in ["guest", "manage"] {
            namespace.ip(&["tuntap", "add", tap, "mode", "tap"])?;
            namespace.ip(&["link", "set", tap, "up"])?;
        }
        namespace.ip(&["addr", "add", HOST, "dev", "manage"])?;
        namespace.ip(&["link", "add", "bridge", "type", "bridge", "mcast_snooping", "0"])?;
        namespace.ip(&["link", "set", "bridge", "up"])?;
        namespace.ip(&["link", "set", "guest", "master", "bridge"])?;
        let (shared, root) = (shared.display(), root.display());
        let memory = format!("mem={MEMORY}M");
        let (umid, files) = (format!("umid={name}"), format!("uml_dir={shared}/"));
        let (flags, init) = (format!("rootflags={root}"), format!("init=/{INIT_PATH}"));
        // Without `gro` the guest drops frames that were left to be segmented.
        let links = [("vec0", "guest"), ("vec1", "manage")];
        let links = links.map(|(link, tap)| format!("{link}:transport=tap,ifname={tap},depth=128,gro=1"));
        let given = [("harness", format!("{shared}")), ("modules", MODULES.to_owned())];
        let given = given.map(|(name, value)| format!("{name}={value}"));
        let mut words = vec!["linux.uml", &memory, &umid, &files, "root=/dev/root", "rootfstype=hostfs", &flags, "ro"];
        words.extend([&*init, "quiet", "con0=null,fd:1", "con=null"]);
        words.extend(links.iter().chain(&given).map(String::as_str));
        let (address, agent) = (format!("address={GUEST}"), format!("agent={AGENT}"));
        words.extend([&*address, &agent]);
        let log = format!("{shared}/guest{number}.log");
        let kernel = Process::logged(&mut namespace.command(&words), Path::new(&log))?;
        let mut guest = Self { kernel, namespace, tool: format!("{shared}/tool") };
        if let Err(cause) = guest.wait() {
            fail!("{cause}\n{}", fs::read_to_string(&log).unwrap_or_default());
        }
        guest.reset()?;
        Ok(guest)
    }

    fn wait(&mut self) -> Result<()> {
        let agent: SocketAddr = AGENT.parse().context(AGENT)?;
        until("the guest's agent", BOOT, || {
            let connect = move || TcpStream::connect_timeout(&agent, Duration::from_secs(2)).context(agent);
            (self.namespace.run(connect).is_ok() || !self.kernel.is_running()).then_some(())
        })?;
        if self.kernel.is_running() { Ok(()) } else { fail!("the guest did not boot") }
    }

    /// The network that it is joined to.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A command that runs in it: output, exit status and signals are the program's.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.namespace.command(&[&[&self.tool, "tool", "remote", AGENT], words].concat())
    }

    /// Joins it to the link `outer` of its namespace.
    pub(crate) fn join_link(&self) -> Result<()> {
        self.namespace.ip(&["link", "set", "outer", "master", "bridge"]).map(drop)
    }

    /// As it was after booting, joined to nothing.
    fn reset(&mut self) -> Result<()> {
        // There may be none.
        let _ = self.namespace.ip(&["link", "del", "outer"]);
        process::run(&mut self.command(&["sh", "-c", RESET]), Duration::from_secs(20)).map(drop)
    }
}

/// Unpacks the archive `tar` (a whole file system) to `root`.
fn unpack(tar: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root).context(root.display())?;
    let words = ["tar", "-x", "-f", &tar.to_string_lossy(), "-C", &root.to_string_lossy()];
    process::run(&mut command(&words), Duration::from_secs(120)).map(drop)
}
