//! The container engine: podman, or docker where that is what the host has, and strongSwan's images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::{Context, Result, fail};
use crate::namespace::{Namespace, PREFIX};
use crate::process::{self, command, sh};
use crate::scenario::Version;

const MINUTES: Duration = Duration::from_secs(60);
/// Raising limits needs a capability that test machines often lack; these are below what any host allows. `runc`
/// and `cgroupfs` work with every cgroup layout, without systemd.
const PODMAN_CONF: &str = r#"[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"#;

/// A container engine that works on this host.
#[derive(Debug)]
pub(crate) struct Engine {
    program: &'static str,
    conf: PathBuf,
}

impl Engine {
    /// Finds podman (with runc) or docker. `scratch` keeps podman's configuration for this run.
    ///
    /// # Errors
    /// When there is neither: the sentence says what is missing.
    pub(crate) fn find(scratch: &Path) -> Result<Self> {
        let conf = scratch.join("containers.conf");
        fs::write(&conf, PODMAN_CONF).context(conf.display())?;
        for (program, needs) in [("podman", &["podman", "runc"][..]), ("docker", &["docker"])] {
            let engine = Self { program, conf: conf.clone() };
            if needs.iter().all(|tool| find(tool)) && engine.run(&["info"], MINUTES).is_ok() {
                return Ok(engine);
            }
        }
        fail!("neither podman with runc nor docker works here")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = command(&[&[self.program], words].concat());
        command.env("CONTAINERS_CONF", &self.conf);
        command
    }

    fn run(&self, words: &[&str], deadline: Duration) -> Result<String> {
        process::run(&mut self.command(words), deadline)
    }

    /// The image with strongSwan of `version`, built if this Containerfile was not built before.
    pub(crate) fn image(&self, version: Version, containerfile: &Path) -> Result<String> {
        match version {
            Version::V5 => self.build("bookworm", containerfile),
            Version::V6 | Version::Kernel => self.build("forky", containerfile).or_else(|cause| {
                eprintln!("no image of Debian forky ({cause}); taking trixie");
                self.build("trixie", containerfile)
            }),
        }
    }

    fn build(&self, suite: &str, containerfile: &Path) -> Result<String> {
        let text = fs::read(containerfile).context(containerfile.display())?;
        let hash = crate::http::hex(&ring::digest::digest(&ring::digest::SHA256, &text).as_ref()[..6]);
        let image = format!("localhost/cygnet-strongswan:{suite}-{hash}");
        if self.has(&image) {
            return Ok(image);
        }
        eprintln!("building {image} (once, about a minute)");
        let base = self.base(suite)?;
        let file = containerfile.to_string_lossy();
        let context = containerfile.parent().context("Containerfile's folder")?.to_string_lossy();
        let (base, arg) = (format!("BASE={base}"), format!("SUITE={suite}"));
        let build = ["build", "--network", "host", "-f", &file, "-t", &image];
        self.run(&[&build[..], &["--build-arg", &base, "--build-arg", &arg, &context]].concat(), MINUTES * 10)?;
        Ok(image)
    }

    fn has(&self, image: &str) -> bool {
        self.run(&["image", "inspect", image], MINUTES).is_ok()
    }

    /// The name of a Debian base image: the public one, or one bootstrapped here from Debian's archive.
    fn base(&self, suite: &str) -> Result<String> {
        let (public, local) = ("debian", "localhost/cygnet-debian");
        if self.has(&format!("{local}:{suite}")) {
            return Ok(local.to_owned());
        }
        if self.run(&["pull", &format!("{public}:{suite}")], MINUTES * 5).is_ok() {
            return Ok(public.to_owned());
        }
        let archive = self.conf.with_file_name(format!("{suite}.tar"));
        let path = archive.to_string_lossy();
        // An archive mirror may be frozen; what comes from it is signed all the same.
        let lenient = "--aptopt=Acquire::Check-Valid-Until \"false\"";
        let bootstrap = ["mmdebstrap", "--variant=minbase", lenient, suite, &path];
        process::run(&mut command(&bootstrap), MINUTES * 10)?;
        self.run(&["import", &path, &format!("{local}:{suite}")], MINUTES * 5)?;
        fs::remove_file(&archive).context(&path)?;
        Ok(local.to_owned())
    }

    /// The version of strongSwan in `image`.
    pub(crate) fn version(&self, image: &str) -> Result<String> {
        let query = ["dpkg-query", "-W", "-f", "${Version}", "strongswan-swanctl"];
        self.run(&[&["run", "--rm", "--network", "none", image], &query[..]].concat(), MINUTES)
    }

    /// Writes the file system of `image` to the archive `tar`.
    pub(crate) fn export(&self, image: &str, tar: &Path) -> Result<()> {
        let name = format!("{PREFIX}{}-export", std::process::id());
        self.run(&["create", "--name", &name, image], MINUTES)?;
        let container = Container { engine: self.program, conf: self.conf.clone(), name: name.clone() };
        self.run(&["export", "-o", &tar.to_string_lossy(), &name], MINUTES * 2)?;
        drop(container);
        Ok(())
    }

    /// Starts charon in `namespace`, configured by `folder`; the container sees the case's folder, its parent,
    /// at the same path.
    pub(crate) fn start(&self, name: &str, image: &str, namespace: &Namespace, folder: &Path) -> Result<Container> {
        // Entering the namespace inside a container on the host's network works for podman and docker alike.
        let (path, case) = (folder.display(), folder.parent().unwrap_or(folder).display());
        let (netns, conf) = (format!("{}:/netns", namespace.path()), format!("{case}:{case}"));
        let (strongswan, swanctl) = (format!("STRONGSWAN_CONF={path}/strongswan.conf"), format!("SWANCTL_DIR={path}"));
        let label = format!("cygnet-interop={}", std::process::id());
        let options = ["run", "-d", "--rm", "--name", name, "--label", &label, "--network", "host"];
        // SYS_ADMIN is what entering a namespace takes.
        let rights = ["--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--cap-add=NET_RAW", "--device=/dev/net/tun"];
        let shared = ["-v", &netns, "-v", &conf, "-e", &strongswan, "-e", &swanctl, image];
        let program = ["nsenter", "--net=/netns", "/usr/sbin/charon-systemd"];
        let container = Container { engine: self.program, conf: self.conf.clone(), name: name.to_owned() };
        self.run(&[&options[..], &rights, &shared, &program].concat(), MINUTES)?;
        Ok(container)
    }

    /// Removes containers that an earlier harness left.
    pub(crate) fn remove_stale(&self, is_stale: impl Fn(&str) -> bool) {
        let list = self.run(&["ps", "-a", "--format", "{{.Names}}"], MINUTES).unwrap_or_default();
        for name in list.split_whitespace().filter(|name| name.starts_with(PREFIX) && is_stale(name)) {
            let _ = self.run(&["rm", "-f", name], MINUTES);
        }
    }
}

/// A running charon, removed when dropped.
#[derive(Debug)]
pub(crate) struct Container {
    engine: &'static str,
    conf: PathBuf,
    name: String,
}

impl Container {
    fn run(&self, words: &[&str], deadline: Duration) -> Result<String> {
        Engine { program: self.engine, conf: self.conf.clone() }.run(words, deadline)
    }

    /// Runs a command inside.
    pub(crate) fn exec(&self, words: &[&str]) -> Result<String> {
        self.run(&[&["exec", &self.name], words].concat(), MINUTES)
    }

    /// Lets it end in good order.
    pub(crate) fn stop(self) -> Result<()> {
        self.run(&["stop", "-t", "10", &self.name], MINUTES).map(drop)
    }

    /// Kills it without a word to anyone.
    pub(crate) fn kill(self) -> Result<()> {
        // Not `rm -f`: podman's asks first, by SIGTERM, and charon then deletes its SAs.
        self.run(&["kill", "--signal", "KILL", &self.name], MINUTES).map(drop)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.run(&["kill", "--signal", "KILL", &self.name], MINUTES);
        let _ = self.run(&["rm", "-f", &self.name], MINUTES);
    }
}

/// Whether a tool is installed.
pub(crate) fn find(tool: &str) -> bool {
    sh(&["sh", "-c", &format!("command -v {tool}")]).is_ok()
}
