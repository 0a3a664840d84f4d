//! What the host must have: found out, and installed where Debian's package tool is there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::Uid;

use crate::engine::find;
use crate::failure::{Result, fail};
use crate::process;

/// Tools, and the Debian packages that bring them.
const TOOLS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("swanctl", "strongswan-swanctl"),
    ("openssl", "openssl"),
    ("nft", "nftables"),
];
/// What guests need.
const GUESTS: &[(&str, &str)] = &[("linux.uml", "user-mode-linux"), ("tar", "tar")];
/// What counts instructions.
const COUNTING: &[(&str, &str)] = &[("valgrind", "valgrind")];
/// Needed beside [`TOOLS`] where docker is not what the host has.
const PODMAN: &[(&str, &str)] = &[("podman", "podman"), ("runc", "runc"), ("mmdebstrap", "mmdebstrap")];

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Installs what is missing.
///
/// # Errors
/// When something is missing and cannot be installed: the sentence names it.
pub(crate) fn prepare() -> Result<()> {
    let engine = if find("docker") && !find("podman") { &[] } else { PODMAN };
    install(&[TOOLS, engine].concat())?;
    if !Path::new("/dev/net/tun").exists() {
        fail!("missing: /dev/net/tun");
    }
    Ok(())
}

/// Installs what guests need; not every architecture has it.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_guests() -> Result<()> {
    install(GUESTS)
}

/// Installs what counts instructions.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_counting() -> Result<()> {
    install(COUNTING)
}

fn install(tools: &[(&str, &'static str)]) -> Result<()> {
    let missing = missing(tools);
    if !missing.is_empty() && find("apt-get") {
        eprintln!("installing {}", missing.join(" "));
        let minutes = Duration::from_secs(900);
        let apt = |words: &[&str]| {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(words);
            process::run(&mut command, minutes)
        };
        apt(&["update"])?;
        apt(&[&["install", "-y", "--no-install-recommends"], &missing[..]].concat())?;
    }
    let missing = self::missing(tools);
    if missing.is_empty() { Ok(()) } else { fail!("missing: {}", missing.join(" ")) }
}

fn missing(tools: &[(&str, &'static str)]) -> Vec<&'static str> {
    tools.iter().filter(|(tool, _)| !find(tool)).map(|(_, package)| *package).collect()
}
